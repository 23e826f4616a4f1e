"""Instructions are counted between two moments and put to phases; the data path costs what the kept figures say."""

from __future__ import annotations

import pytest

from bench.macro.profile import shares
from bench.micro.callgrind import by_object, missing
from bench.micro.instructions import CASES, MACHINE, kept, measure
from bench.phases import INTERPRETER, KERNEL, LIBRARIES, PHASES, phase_of, phases_of

TOLERANCE = 0.1
DUMP = """
version: 1
positions: line
events: Ir

ob=(1) /lib/libc.so.6
fl=(1) a.c
fn=(1) memcpy
10 30
+2 4
* 1
cob=(2) /edge/native/io/reactor.cpython-311-x86_64-linux-gnu.so
cfn=(2) turn
calls=3 50
12 1000
13 6
ob=(2)
fn=(2)
50 900
+4

totals: 941
"""
SCRIPT = """
python
        ffffffff81 tcp_sendmsg ([kernel.kallsyms])
        ffffffff82 __x64_sys_writev ([kernel.kallsyms])
            7f5d0e write+0x10 (/usr/lib/x86_64-linux-gnu/libc.so.6)

python
            7f5d0f __pyx_f_turn (/edge/native/io/reactor.cpython-311-x86_64-linux-gnu.so)

python
        ffffffff83 irq_exit ([kernel.kallsyms])
            7f5d0f __pyx_f_turn (/edge/native/io/reactor.cpython-311-x86_64-linux-gnu.so)

python
            7f5d0d _PyEval_EvalFrameDefault (/usr/lib/libpython3.11.so.1.0)
"""


def test_a_dump_is_summed_by_object_file() -> None:
    """Costs of callees are not counted twice; names are given once and a cost that is missing is 0."""
    found = by_object(DUMP.splitlines())
    assert found == {"/lib/libc.so.6": 41, "/edge/native/io/reactor.cpython-311-x86_64-linux-gnu.so": 900}


def test_samples_belong_to_system_calls_and_phases() -> None:
    """A sample in the kernel counts for its system call, if it was in one, and others for their object file."""
    samples, phases = shares(SCRIPT.splitlines())
    assert samples == 4
    expected = {f"{KERNEL}: sending": 0.25, f"{KERNEL}: other": 0.25, phase_of("/native/io/reactor.so"): 0.25}
    assert {name: share for name, share in phases if share} == {**expected, INTERPRETER: 0.25}


@pytest.mark.parametrize(
    ("place", "phase"),
    [
        ("/edge/native/proxy/router.cpython-311-x86_64-linux-gnu.so", "route, key and limits"),
        ("/edge/native/http/http2_server.cpython-311-x86_64-linux-gnu.so", "HTTP/2 frames"),
        ("/edge/native/http/http1_server.cpython-311-x86_64-linux-gnu.so", "HTTP/1.1 heads and chunks"),
        ("/usr/lib/x86_64-linux-gnu/libc.so.6", LIBRARIES),
        ("/usr/lib/x86_64-linux-gnu/libcrypto.so.3", "TLS"),
        ("/usr/lib/libpython3.11.so.1.0", INTERPRETER),
    ],
)
def test_each_object_file_has_a_phase(place: str, phase: str) -> None:
    """Compiled modules have the phase of their subject, libraries that of their purpose, Python the rest."""
    assert phase_of(place) == phase


def test_phases_keep_the_sum() -> None:
    """Whatever the object files are, nothing is lost, and every phase has its line."""
    found = phases_of({"/lib/libc.so.6": 5, "???": 7, "/usr/bin/python3": 1})
    assert [name for name, _ in found] == list(PHASES)
    assert sum(cost for _, cost in found) == 13


async def test_the_data_path_costs_what_it_did() -> None:
    """Instructions per request are within a tenth of the kept ones: `python -m bench.micro.instructions --renew`."""
    if (lacking := missing()) is not None:
        pytest.skip(lacking)
    figures = kept()
    if figures["machine"] != MACHINE:
        pytest.skip(f"the kept figures are for {figures['machine']}, this is {MACHINE}")
    assert set(figures["instructions"]) == {case.name for case in CASES}
    before = figures["instructions"]
    found = {cost.case: cost.instructions for cost in await measure()}
    for _ in range(2):  # where other programs run, a turn of the loop finds fewer events: the least counts
        dear = [name for name in found if found[name] > before[name] * (1 + TOLERANCE)]
        if dear:
            found |= {cost.case: min(cost.instructions, found[cost.case]) for cost in await measure(dear)}
    ratios = {name: found[name] / figure for name, figure in before.items()}
    assert {name: ratio for name, ratio in ratios.items() if abs(ratio - 1) > TOLERANCE} == {}


@pytest.mark.prove
async def test_a_verified_token_costs_hardly_more_than_a_key() -> None:
    """A request with a token that was verified before takes at most 3% more instructions than one with a key."""
    if (lacking := missing()) is not None:
        pytest.skip(lacking)
    found = {cost.case: cost.instructions for cost in await measure(["keys", "tokens"])}
    assert found["tokens"] <= found["keys"] * 1.03, found


@pytest.mark.prove
async def test_keeping_conversations_costs_hardly_anything() -> None:
    """With affinity: auto a request to a pool of two takes at most 2% more instructions than without."""
    if (lacking := missing()) is not None:
        pytest.skip(lacking)
    found = {cost.case: cost.instructions for cost in await measure(["spread", "affinity"])}
    assert found["affinity"] <= found["spread"] * 1.02, found
