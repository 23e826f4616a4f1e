"""What every source of addresses does: it keeps its last good answer, says how old that is, and never becomes empty.

A source that fails, or that names nothing, changes nothing. An outage of DNS or of an API server, a truncated file or a
selector that matches no pod must not take a service away that may still answer; targets that do not answer any more
are found by their circuits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from edge import clock as real
from edge.config.addresses import forbidden
from edge.errors import EdgeError
from edge.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edge.clock import Clock
    from edge.terms.places import Endpoint

MOST_ENDPOINTS: Final = 10_000
FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 5.0
_LONGEST_ERROR: Final = 300
_NS: Final = 1_000_000_000


class SourceError(EdgeError):
    """A source did not answer, or its answer cannot be used; the text says why."""

    kind = "source_failed"
    source = "edge"


class SourceState(Struct, frozen=True):
    """A source as operators see it. Ages are in seconds; None: never."""

    url: str
    endpoints: int
    age_s: float | None  # since the source last confirmed the addresses in use
    failures: int
    error: str  # why it does not confirm them now; "" while it does


class Source(ABC):
    """Follows one source until cancelled.

    Args:
        url: the URL of the source, which identifies it.
        changed: called with the new addresses after each change.
        known: the addresses that were in use before this process, which stay until the source answers.
        clock: source of time and chance.
    """

    def __init__(
        self,
        url: str,
        changed: Callable[[str, tuple[Endpoint, ...]], None],
        known: tuple[Endpoint, ...] = (),
        clock: Clock = real,
    ) -> None:
        self.url = url
        self.endpoints = known
        self.answered = False
        """Whether the source has said anything since the start, be it that it cannot answer."""
        self._changed = changed
        self._clock = clock
        self._good_ns: int | None = None
        self._failures = 0
        self._error = ""

    @abstractmethod
    async def _follow(self) -> None:
        """Follow the source: call :meth:`take` with each answer; raise SourceError when it fails; return to go on."""

    async def run(self) -> None:
        """Follow the source until cancelled, with growing pauses while it fails."""
        wait_s = FIRST_WAIT_S
        while True:
            good_ns = self._good_ns
            try:
                await self._follow()
            except SourceError as error:
                self.fail(str(error))
            except Exception as error:  # noqa: BLE001  # a defect in one source must not end the others
                logs.say_failure("a source of addresses failed unexpectedly", error, source=self.url)
                self.fail(f"unexpected {type(error).__name__}")
            else:
                wait_s = FIRST_WAIT_S
                continue
            if self._good_ns != good_ns:
                wait_s = FIRST_WAIT_S
            await self._clock.sleep(wait_s * (0.5 + self._clock.random() / 2))
            wait_s = min(wait_s * 2, LONGEST_WAIT_S)

    def take(self, endpoints: Iterable[Endpoint], but: str = "") -> None:
        """Use an answer of the source; an empty one counts as a failure, and the addresses before it stay.

        Args:
            endpoints: the addresses; those that must never be called are left out.
            but: what is wrong with a part of the answer, whose other part counts all the same.
        """
        usable = sorted({endpoint for endpoint in endpoints if not forbidden(endpoint.host)})
        if not usable:
            self.fail(but or "it names no address")
            return
        if len(usable) > MOST_ENDPOINTS:
            self.fail(f"it names {len(usable)} addresses; at most {MOST_ENDPOINTS} can be used")
            return
        if but:
            self.fail(but)
        else:
            if self._error:
                logs.say(logs.INFO, "a source of addresses answers again", source=self.url, addresses=len(usable))
            self._error = ""
            self._good_ns = self._clock.now_ns()
        new = tuple(usable)
        if new != self.endpoints:
            self.endpoints = new
            self._changed(self.url, new)
        self.answered = True

    def confirm(self) -> None:
        """Record that the source still answers, and that nothing has changed."""
        if self._good_ns is not None and not self._error:
            self._good_ns = self._clock.now_ns()

    def fail(self, reason: str) -> None:
        """Record that the source does not answer; its last addresses stay in use."""
        reason = reason[:_LONGEST_ERROR]
        self._failures += 1
        if reason != self._error:
            age = self.state().age_s
            facts = {} if age is None else {"age_s": round(age, 1)}
            sentence = "a source of addresses gives none; the last known stay in use"
            logs.say(logs.WARNING, sentence, source=self.url, addresses=len(self.endpoints), error=reason, **facts)
        self._error = reason
        self.answered = True

    def state(self) -> SourceState:
        """Return the state for operators."""
        age_s = None if self._good_ns is None else (self._clock.now_ns() - self._good_ns) / _NS
        return SourceState(self.url, len(self.endpoints), age_s, self._failures, self._error)
