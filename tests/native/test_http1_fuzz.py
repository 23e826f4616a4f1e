"""Mutated wires make the HTTP/1.1 parsers neither read out of bounds, nor depend on cuts, nor take what llhttp refuses.

The parsers are compiled anew under AddressSanitizer and UBSan, with a call at each branch that guides the mutations.
EDGE_FUZZ_EXECUTIONS says how much is run of each parser (5 million, 10 million in all); where EDGE_FUZZ_SECONDS are
over before that, the test fails.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.native.fuzzing import EXECUTIONS, SECONDS, build

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
import json, os, sys, time
from native.http import http1_fuzz
from tests.native import test_http1_head as property_of
kind, executions, seconds, seed = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
assert http1_fuzz.__file__.startswith(os.getcwd())
is_request = kind == "requests"
differ = []
def compare(data, to_head):
    try:
        if is_request:
            property_of.check_requests(data)
        else:
            property_of.check_response(data, to_head=to_head)
    except AssertionError:
        differ.append(repr((data, to_head)))
seeds = [seed for seed in (property_of.REQUESTS if is_request else property_of.RESPONSES) if len(seed) <= 700]
began = time.monotonic()
done, corpus, slots, failed = http1_fuzz.run(seeds, property_of.TOKENS, is_request, executions, seconds, seed, compare)
took = time.monotonic() - began
print(json.dumps([done, took, corpus, slots, [repr(one) for one in failed], differ[:10]]))
"""


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A copy of the parsers, built for the fuzzer, and the environment that it runs in."""
    copy = tmp_path_factory.mktemp("fuzzer")
    return copy, build(copy, "http1_fuzz.pyx", "http")


@pytest.mark.prove
@pytest.mark.timeout(SECONDS + 1800)
@pytest.mark.parametrize("kind", ["requests", "responses"])
def test_mutated_wires(fuzzer: tuple[Path, dict[str, str]], kind: str) -> None:
    """Millions of inputs, guided by coverage: no fault, the same events however they are cut, and llhttp agrees."""
    copy, environment = fuzzer
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, kind, str(EXECUTIONS), str(SECONDS), "1"],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
    done, took, corpus, slots, failed, differ = json.loads(ended.stdout)
    seen = f"{kind}: {done} executions, {done / took:.0f} a second, {corpus} inputs kept, {slots} slots of coverage"
    sys.stdout.write(seen + "\n")
    assert (failed, differ) == ([], [])
    assert done >= EXECUTIONS, f"the time was over: {seen}; EDGE_FUZZ_SECONDS allows more"
    assert corpus > 200
