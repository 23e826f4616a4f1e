"""Memory that a worker frees and keeps."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

CODE = """
import ctypes, os
from edge.app.freed_memory import keep_freed_memory
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

keep_freed_memory(os.environ)
blocks = [libc.malloc(512 << 10) for _ in range(12)]
for block in blocks:
    ctypes.memset(block, 1, 512 << 10)
before = resident()
for block in blocks:
    libc.free(block)
print(before - resident())
"""


@pytest.mark.parametrize(("set_by_the_operator", "kept"), [({}, True), ({"MALLOC_TRIM_THRESHOLD_": "131072"}, False)])
def test_freed_bodies_are_kept_unless_the_operator_wants_otherwise(
    set_by_the_operator: dict[str, str], kept: bool
) -> None:
    """Of 6 MiB in blocks of 512 KiB nothing goes back to the kernel; with a bound in the environment most does."""
    if not hasattr(ctypes.CDLL(None), "mallopt"):
        pytest.skip("this C library has no mallopt; nothing is set")
    ended = subprocess.run(
        [sys.executable, "-c", CODE],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **set_by_the_operator},
        timeout=30,
    )
    returned = int(ended.stdout)
    assert (returned < 1 << 20) == kept, returned
    assert kept or returned > 4 << 20
