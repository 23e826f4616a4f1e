"""Work that is repeated for each of some targets: at most one run per target at a time, and a limited number in all."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from edge.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from edge.terms.snapshot import Target


class Rounds:
    """Starts a run for each target once a period, give or take a quarter.

    Args:
        what: name of the work, for the log.
        run: performs one run; its exceptions are logged.
        period_ns: time between two runs for one target.
        first_ns: the first run for a target starts within this time.
        at_once: most runs at a time. Beyond it runs only start later: the target that has waited longest comes first.
    """

    def __init__(
        self,
        what: str,
        run: Callable[[Target], Coroutine[Any, Any, None]],
        *,
        period_ns: int,
        first_ns: int,
        at_once: int,
    ) -> None:
        self._what = what
        self._run = run
        self._period_ns = period_ns
        self._first_ns = first_ns
        self._at_once = at_once
        self._due_ns: dict[str, int] = {}
        self._running: dict[str, asyncio.Task[None]] = {}

    def tend(self, targets: Iterable[Target], now_ns: int, chance: Callable[[], float]) -> None:
        """Start the runs that are due, and forget every target that is not among ``targets``.

        Args:
            targets: the targets to work for now.
            now_ns: monotonic nanoseconds.
            chance: returns a random number in [0, 1), for jitter.
        """
        wanted = {target.id: target for target in targets}
        self._due_ns = {name: due_ns for name, due_ns in self._due_ns.items() if name in wanted}
        for name in wanted:
            self._due_ns.setdefault(name, now_ns + int(self._first_ns * chance()))
        # Longest wait first; otherwise the limit would let the first few run again and again, and others never.
        for name, target in sorted(wanted.items(), key=lambda item: self._due_ns[item[0]]):
            if self._due_ns[name] > now_ns or name in self._running or len(self._running) >= self._at_once:
                continue
            self._due_ns[name] = now_ns + int(self._period_ns * (0.75 + chance() / 2))
            task = asyncio.get_running_loop().create_task(self._run(target))
            self._running[name] = task
            task.add_done_callback(partial(self._forget, name))

    def postpone(self, name: str, due_ns: int) -> None:
        """Start the next run for a target at this time instead; nothing happens if the target was forgotten."""
        if name in self._due_ns:
            self._due_ns[name] = due_ns

    async def stop(self) -> None:
        """Cancel every run."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _forget(self, name: str, task: asyncio.Task[None]) -> None:
        self._running.pop(name, None)
        if not task.cancelled() and task.exception() is not None:
            logs.say(logs.WARNING, f"{self._what} failed", target=name, error=repr(task.exception()))
