"""A worker's event loop: the reactor waits for asyncio, which runs when it has something to do and only then."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING, TypeVar

import pytest

from edge.app.reactor_loop import ReactorLoop
from edge.native import Listener, Reactor
from native.io import clock
from native.io.listener import AcceptEvents

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")
CLIENTS = 50


class CountingLoop(ReactorLoop):
    """Counts its iterations."""

    iterations = 0

    def _run_once(self) -> None:
        self.iterations += 1
        super()._run_once()  # type: ignore[misc]  # what one iteration is called, is asyncio's own


def run(work: Coroutine[object, object, T]) -> T:
    """Run a coroutine on a loop that counts."""
    with asyncio.Runner(loop_factory=CountingLoop) as runner:
        return runner.run(asyncio.wait_for(work, 20))


def listening(reactor: Reactor) -> Listener:
    """Return a listener that closes every connection at once."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return Listener(reactor, sock, 128, AcceptEvents(), None)


def connect(address: tuple[str, int]) -> None:
    """Connect again and again, each time until the connection is closed."""
    for _ in range(CLIENTS):
        with socket.create_connection(address, 10) as client:
            assert client.recv(1) == b""


def test_the_data_path_does_not_run_asyncio() -> None:
    """Asyncio takes no turn for a descriptor of the data path."""

    async def serve() -> int:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, CountingLoop)
        reactor = Reactor(loop)
        listener = listening(reactor)
        before = loop.iterations
        await asyncio.to_thread(connect, listener.address())
        taken = loop.iterations - before
        reactor.close()
        return taken

    assert run(serve()) < CLIENTS / 2


def test_asyncio_runs_as_without_a_reactor() -> None:
    """Timers, sockets, threads and plain calls work while a reactor waits, and after its end."""

    async def work() -> None:
        loop = asyncio.get_running_loop()
        reactor = Reactor(loop)
        for _ in range(2):
            began = loop.time()
            await asyncio.sleep(0.03)
            assert 0.03 <= loop.time() - began < 5
            one, other = socket.socketpair()
            with one, other:
                one.setblocking(False)
                other.setblocking(False)
                reading = asyncio.ensure_future(loop.sock_recv(one, 16))
                await asyncio.sleep(0)
                await loop.sock_sendall(other, b"said")
                assert await reading == b"said"
            assert await asyncio.to_thread(threading.get_ident) != threading.get_ident()
            event = asyncio.Event()
            threading.Timer(0.02, loop.call_soon_threadsafe, (event.set,)).start()
            await event.wait()
            reactor.close()

    run(work())


def test_asyncio_keeps_its_share_of_a_busy_data_path() -> None:
    """While connections keep coming, timers are on time and descriptors of asyncio are read."""

    async def work() -> None:
        loop = asyncio.get_running_loop()
        reactor = Reactor(loop)
        listener = listening(reactor)
        connecting = [asyncio.create_task(asyncio.to_thread(connect, listener.address())) for _ in range(4)]
        turns = 0
        while not all(task.done() for task in connecting):
            await asyncio.sleep(0.001)
            turns += 1
        await asyncio.gather(*connecting)
        assert turns > 3
        reactor.close()

    run(work())


def test_a_worker_knows_that_it_was_late() -> None:
    """When something has kept the loop, the reactor notes that it was late, before it handles what waited."""

    async def work() -> None:
        reactor = Reactor(asyncio.get_running_loop())
        began = time.monotonic_ns()
        time.sleep(0.2)  # noqa: ASYNC251  # what is tested: nothing else can run
        while clock.late() < began:  # noqa: ASYNC110  # no event tells it
            await asyncio.sleep(0.001)
        reactor.close()

    run(work())
    clock.set_virtual(1_000)
    assert clock.late() == 0, "virtual time is not compared with the real one"
    clock.set_virtual(0)


def test_signals_are_handled_while_the_reactor_waits() -> None:
    """A handler of the loop and one of Python itself run at once, although no timer is due."""

    async def work() -> None:
        loop = asyncio.get_running_loop()
        reactor = Reactor(loop)
        told = asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR2, told.set)
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR2)).start()
        await told.wait()
        seen = asyncio.Event()
        former = signal.signal(signal.SIGUSR1, lambda *_: seen.set())
        try:
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()
            await seen.wait()
        finally:
            signal.signal(signal.SIGUSR1, former)
            loop.remove_signal_handler(signal.SIGUSR2)
        reactor.close()

    run(work())


def test_a_loop_waits_in_one_reactor() -> None:
    """A second reactor is refused while the first one is open."""

    async def work() -> None:
        first = Reactor(asyncio.get_running_loop())
        with pytest.raises(RuntimeError, match="one reactor"):
            Reactor(asyncio.get_running_loop())
        first.close()
        Reactor(asyncio.get_running_loop()).close()

    run(work())
