"""The load of the macro benchmark sent by h2load (nghttp2) instead, as a cross-check of our own load process.

Usage: ``python -m bench.macro --only json --load h2load``, or ``--only grpc``. It is optional: the default load needs
nothing beyond a fresh clone.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from pathlib import Path

from bench.macro import greeter, wire
from bench.macro.load import Order, Ran
from bench.macro.processes import BenchError, child, other_cpus

_DONE = re.compile(r"finished in ([\d.]+)(us|ms|s)")
_COUNTS = re.compile(r"requests: (\d+) total, .* (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


def parse(said: str) -> Ran:
    """Parse the output of h2load; latencies are not available.

    Raises:
        BenchError: the output has another form.
    """
    done, counts = _DONE.search(said), _COUNTS.search(said)
    if done is None or counts is None:
        raise BenchError(f"unexpected output of h2load:\n{said[-1000:]}")
    total, right = int(counts[1]), int(counts[2])
    return Ran(right, total - right, float(done[1]) * _SECONDS[done[2]], p50_us=0.0, p99_us=0.0)


def _post() -> tuple[str, bytes, list[str]]:
    """Return path, body and fields of a request that does not stream."""
    head = wire.WHOLE_REQUEST.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    fields = [line for line in head if not line.startswith(("host:", "content-length:"))]
    return "/v1/chat/completions", wire.WHOLE_BODY, fields


def _call() -> tuple[str, bytes, list[str]]:
    """Return path, body and fields of a unary call; h2load does not check its grpc-status."""
    fields = [f"{name}: {value}" for name, value in greeter.request(greeter.CALL) if not name.startswith(":")]
    return greeter.CALL, greeter.ASKED, fields


class H2Load:
    """Sends requests with h2load, one process per run."""

    def __init__(self) -> None:
        command = shutil.which("h2load")
        if command is None:
            raise BenchError("h2load is missing: install nghttp2-client (Debian), or omit --load")
        self._command = command

    async def run(self, order: Order) -> Ran:
        """Send the requests of an Order.

        Raises:
            BenchError: the Order is not for plain requests or unary calls, or a response was wrong.
        """
        if order.kind not in ("whole", "call") or order.fresh or order.rate or order.ca:
            raise BenchError("h2load sends requests of two kinds: use --load h2load with --only json or --only grpc")
        path, content, fields = _call() if order.streams else _post()
        version = ["-m", str(order.streams)] if order.streams else ["--h1"]
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            body = Path(folder) / "body"
            body.write_bytes(content)
            command = [self._command, *version, "-n", str(order.count), "-c", str(order.connections), "-d", str(body)]
            for field in fields:
                command += ["-H", field]
            url = f"http://127.0.0.1:{order.port}{path}"
            async with child(*command, url, cpus=other_cpus()) as process:
                said, _ = await asyncio.wait_for(process.communicate(), order.limit_s)
        ran = parse(said.decode())
        if ran.wrong or ran.right != order.count:
            raise BenchError(f"h2load: {ran.wrong} of {order.count} responses were wrong")
        return ran
