"""Mutated wires make the HTTP/1.1 parsers neither read out of bounds, nor depend on cuts, nor take what llhttp refuses.

The parsers are compiled anew under AddressSanitizer and UBSan, with a call at each branch that guides the mutations.
EDGE_FUZZ_EXECUTIONS and EDGE_FUZZ_SECONDS say how much is run of each parser.
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

STEMS = (
    "field_rules,numbers,field_names,http1_head,chunked,head,kept_head,head_reader,request_head,response_head,"
    "http1_request_parser,http1_response_parser,http1_fuzz"
)
SCRIPT = """
import json, os, sys
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
done, corpus, slots, failed = http1_fuzz.run(seeds, property_of.TOKENS, is_request, executions, seconds, seed, compare)
print(json.dumps([done, corpus, slots, [repr(one) for one in failed], differ[:10]]))
"""


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A copy of the parsers, built for the fuzzer, and the environment that it runs in."""
    copy = tmp_path_factory.mktemp("fuzzer")
    return copy, build(copy, "http1_fuzz.pyx", "http", STEMS)


@pytest.mark.prove
@pytest.mark.timeout(3600)
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
    done, corpus, slots, failed, differ = json.loads(ended.stdout)
    sys.stdout.write(f"{kind}: {done} executions, {corpus} inputs in the corpus, {slots} slots of coverage\n")
    assert (failed, differ) == ([], [])
    assert done >= min(EXECUTIONS, 1000)
    assert corpus > 200
