"""Mutated wires make the HTTP/1.1 parsers neither read out of bounds, nor depend on cuts, nor take what llhttp refuses.

The parsers are compiled anew under AddressSanitizer and UBSan, with a call at each branch that guides the mutations.
EDGE_FUZZ_EXECUTIONS and EDGE_FUZZ_SECONDS say how much is run of each parser.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXECUTIONS = int(os.environ.get("EDGE_FUZZ_EXECUTIONS", "5000000"))
SECONDS = float(os.environ.get("EDGE_FUZZ_SECONDS", "900"))
STEMS = (
    "field_rules,numbers,field_names,http1_head,chunked,head,head_reader,request_head,response_head,"
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
    shutil.copytree(ROOT / "native", copy / "native", ignore=shutil.ignore_patterns("*.so", "*.c", "__pycache__"))
    shutil.copytree(ROOT / "tests", copy / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, copy)
    (copy / "edge").symlink_to(ROOT / "edge")
    shutil.copy(ROOT / "tests/fuzz/http1_fuzz.pyx", copy / "native/http")
    coverage = copy / "coverage.so"
    compiler = os.environ.get("CC", "gcc").split()
    subprocess.run([*compiler, "-O2", "-shared", "-fPIC", "-o", coverage, ROOT / "tests/fuzz/coverage.c"], check=True)
    built = {
        **os.environ,
        "EDGE_SANITIZE": "address,undefined",
        "EDGE_ONLY": STEMS,
        "CFLAGS": "-fsanitize-coverage=trace-pc",
        "PYTHONPATH": str(copy),
    }
    subprocess.run([sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"], cwd=copy, env=built, check=True)
    library = subprocess.run(
        [*compiler, "-print-file-name=libasan.so"], check=True, capture_output=True, text=True
    ).stdout.strip()
    return copy, {
        **os.environ,
        "PYTHONPATH": str(copy),
        "LD_PRELOAD": f"{coverage}:{library}",
        # a short quarantine and no stacks of allocations: both cost more than the parsers
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1:verify_asan_link_order=0:quarantine_size_mb=4"
        ":malloc_context_size=0",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        "PYTHONMALLOC": "malloc",
    }


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
