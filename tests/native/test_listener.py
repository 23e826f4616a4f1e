"""Listeners hold what they need to the end of the reactor, and do without descriptors when there are none."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import socket
import time
from pathlib import Path

import uvloop

from native.io.listener import AcceptEvents, Listener
from native.io.reactor import Reactor


def listening(reactor: Reactor) -> Listener:
    """Return a listener that closes every connection at once."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return Listener(reactor, sock, 16, AcceptEvents(), None)


def open_fds() -> int:
    """Return how many descriptors this process has open, without those that only garbage of other tests holds."""
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


def test_the_reactor_closes_what_nobody_else_holds() -> None:
    """The end of the reactor closes listeners, those too to which it holds the last reference."""

    async def run() -> None:
        before = open_fds()
        reactor = Reactor(asyncio.get_running_loop())
        for _ in range(40):
            listening(reactor)
        assert reactor.watched == 40
        reactor.close()
        reactor.close()
        assert reactor.watched == 0
        del reactor
        assert open_fds() <= before

    uvloop.run(run())


def test_without_a_descriptor_and_without_a_spare_one() -> None:
    """A listener that cannot even close a waiting connection tries again now and then, and does not spin."""

    async def run() -> None:
        reactor = Reactor(asyncio.get_running_loop())
        client = socket.socket()
        client.setblocking(False)
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        full = [os.dup(0)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(full) + 1, hard))
        try:
            with contextlib.suppress(OSError):  # too many open files
                while True:
                    full.append(os.dup(0))
            listener = Listener(reactor, sock, 16, AcceptEvents(), None)
            client.connect_ex(listener.address())
            await asyncio.sleep(0.1)
            began = time.process_time()
            await asyncio.sleep(0.5)
            assert time.process_time() - began < 0.2
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for fd in full:
                os.close(fd)
        assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 1), 5) == b""
        client.close()
        reactor.close()

    uvloop.run(run())
