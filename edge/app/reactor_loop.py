"""A worker's event loop: asyncio's own, which waits in the reactor of the data path.

Nearly all that a worker waits for are sockets of the data path. So the reactor waits, with asyncio's few descriptors
among its own, and asyncio runs only when one of them is ready, a timer is due or something was called. On uvloop the
reactor would be one reader among others, and each wake-up would take two waits and a turn of the loop.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import Handle, TimerHandle
    from collections.abc import Callable
    from contextvars import Context
    from typing import TypeVarTuple

    from edge.native import Reactor

    Args = TypeVarTuple("Args")


class _Selector(selectors.EpollSelector):
    """Waits in the reactor while there is one."""

    def __init__(self) -> None:
        super().__init__()
        self.reactor: Reactor | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return the descriptors of asyncio that are ready; the reactor serves the data path meanwhile."""
        if self.reactor is None:
            return super().select(timeout)
        return super().select(0) if self.reactor.wait(timeout) else []


class ReactorLoop(asyncio.SelectorEventLoop):
    """An event loop on which one Reactor can run."""

    def __init__(self) -> None:
        self._own = _Selector()
        super().__init__(self._own)

    def wait_in(self, reactor: Reactor | None) -> int:
        """Wait in this reactor from now on (None = in none), which watches the descriptor that is returned.

        Raises:
            RuntimeError: another reactor waits for this loop.
        """
        if reactor is not None and self._own.reactor is not None:
            raise RuntimeError("a loop waits in one reactor at a time")
        self._own.reactor = reactor
        return self._own.fileno()

    # asyncio calls these from its own callbacks too; the reactor does not wait then, and calling it changes nothing.
    def call_soon(self, callback: Callable[[*Args], object], *args: *Args, context: Context | None = None) -> Handle:
        """Call something in the next iteration, which begins after the reactor's present turn."""
        if self._own.reactor is not None:
            self._own.reactor.call()
        return super().call_soon(callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Args], object],
        *args: *Args,
        context: Context | None = None,
    ) -> TimerHandle:
        """Call something at a time of :meth:`time`; :meth:`call_later` comes here too."""
        if self._own.reactor is not None:
            self._own.reactor.call()
        return super().call_at(when, callback, *args, context=context)
