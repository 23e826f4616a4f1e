"""The two ends of a test of churn, each a process of its own, so that neither disturbs what is measured.

``python churn_side.py backends PORT``: servers on many loopback addresses, told by lines ``open ADDRESS`` and ``close
ADDRESS`` on standard input; ``any`` opens all of 127.0.0.0/8 by one socket, which only the loopback interface reaches.
``python churn_side.py load URL CALLERS WAIT_S PATH...``: callers that ask until standard input ends, then one line of
JSON: a list of [monotonic seconds at the begin, seconds, "" or what went wrong].
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time

import aiohttp
from aiohttp import web

LIMIT_S = 600.0


async def lines() -> asyncio.StreamReader:
    """Return standard input as a stream."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def serve(address: str, port: int) -> web.AppRunner:
    """Serve on one address; a request lasts a few milliseconds, so that some are always in flight."""

    async def answer(_: web.Request) -> web.Response:
        await asyncio.sleep(0.005)
        return web.Response(text="served")

    app = web.Application()
    app.router.add_get("/{any:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=2.0, access_log=None)
    await runner.setup()
    if address == "any":
        every = socket.socket()
        every.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        every.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
        every.bind(("0.0.0.0", port))  # of the loopback interface alone
        await web.SockSite(runner, every).start()
    else:
        await web.TCPSite(runner, address, port, reuse_address=True).start()
    return runner


async def backends(port: int) -> None:
    """Open and close addresses as told."""
    told, open_now = await lines(), dict[str, web.AppRunner]()
    closing = set[asyncio.Task[None]]()
    while line := (await told.readline()).decode().split():
        verb, address = line
        if verb == "open":
            open_now[address] = await serve(address, port)
            sys.stdout.write(f"{address}\n")
            sys.stdout.flush()
        else:
            task = asyncio.create_task(open_now.pop(address).cleanup())
            closing.add(task)
            task.add_done_callback(closing.discard)


async def load(url: str, callers: int, wait_s: float, paths: list[str]) -> None:
    """Ask over and over; every answer and every failure is kept."""
    kept: list[tuple[float, float, str]] = []
    stop = asyncio.Event()

    async def caller(number: int) -> None:
        await asyncio.sleep(wait_s * number / callers)
        while not stop.is_set():
            began, wrong = time.monotonic(), ""
            try:
                async with client.get(url + paths[len(kept) % len(paths)]) as answer:
                    if await answer.text() != "served" or answer.status != 200:
                        wrong = f"{answer.status} {(await answer.text())[:200]}"
            except (aiohttp.ClientError, TimeoutError) as error:
                wrong = repr(error)
            kept.append((began, time.monotonic() - began, wrong))
            await asyncio.sleep(wait_s)

    limit = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(timeout=limit, connector=aiohttp.TCPConnector(limit=0)) as client:
        tasks = [asyncio.create_task(caller(number)) for number in range(callers)]
        async with asyncio.timeout(LIMIT_S):
            await (await lines()).read()
            stop.set()
            await asyncio.gather(*tasks)
    sys.stdout.write(json.dumps(kept) + "\n")


if __name__ == "__main__":
    if sys.argv[1] == "backends":
        asyncio.run(backends(int(sys.argv[2])))
    else:
        asyncio.run(load(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), sys.argv[5:]))
