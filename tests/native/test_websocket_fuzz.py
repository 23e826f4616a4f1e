"""Mutated frames make no reader of a WebSocket read out of bounds, depend on cuts, or differ from the reference.

The readers are compiled anew under AddressSanitizer and UBSan, with a call at each branch that guides the mutations.
EDGE_FUZZ_EXECUTIONS and EDGE_FUZZ_SECONDS say how much is run.
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
from native.codec import websocket_fuzz
from tests.native import test_websocket_frames as property_of
from tests.reference import websocket as twin
executions, seconds, seed = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
assert websocket_fuzz.__file__.startswith(os.getcwd())
differ = []
def compare(data, limit, found, fault, closed):
    if tuple(twin.read(data, limit)) != (found, fault, closed):
        differ.append(repr(data))
turn = b'{"type":"response.create","stream_id":"a","model":"m","input":[{"a":1}],"previous_response_id":null}'
seeds = [data for data, _, _ in property_of.CASES.values() if len(data) <= 700] + [twin.masked(1, turn)]
seeds.append(b"event: a\\r\\ndata: b\\n\\ndata: c\\r\\r")
tokens = [twin.masked(kind, b"ab", b"\\0" * 4, final=final) for kind in (0, 1, 2, 8, 9) for final in (True, False)]
tokens += [b"\\x81\\xfe", b"\\x81\\xff", b"\\x00" * 4, b'"input":', b'"type":', b"data: ", b"\\n\\n"]
tokens += [b"\\xf0\\x9f\\x98\\x80", b"\\xed\\xa0"]
began = time.monotonic()
done, corpus, slots, failed = websocket_fuzz.run(seeds, tokens, executions, seconds, seed, compare)
took = time.monotonic() - began
print(json.dumps([done, took, corpus, slots, [repr(one) for one in failed], differ[:10]]))
"""


@pytest.mark.prove
@pytest.mark.timeout(SECONDS + 1800)
def test_mutated_frames(tmp_path: Path) -> None:
    """Millions of inputs, guided by coverage: no fault, the same whatever the cuts, and the reference agrees."""
    environment = build(tmp_path, "websocket_fuzz.pyx", "codec")
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(EXECUTIONS), str(SECONDS), "1"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
    done, took, corpus, slots, failed, differ = json.loads(ended.stdout)
    seen = f"frames: {done} executions, {done / took:.0f} a second, {corpus} inputs kept, {slots} slots of coverage"
    sys.stdout.write(seen + "\n")
    assert (failed, differ) == ([], [])
    assert done >= EXECUTIONS, f"the time was over: {seen}; EDGE_FUZZ_SECONDS allows more"
    assert corpus > 50
