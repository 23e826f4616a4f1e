"""Which exchanges can still be told of?  The last recorded ones, in memory, newest first; nothing of them is on disk.

What went wrong is kept apart from what did not: however much is sampled, it does not push a failure out.
"""

from __future__ import annotations

from collections import deque
from itertools import chain
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge.terms.trace import ExchangeRecord

SIZE: Final = 1000
_FIRST_FAILURE: Final = 500


def went_wrong(record: ExchangeRecord) -> bool:
    """Was it failed, slow, broken off or retried?"""
    return record.kept != "sampled" or record.status >= _FIRST_FAILURE or record.status == 0 or len(record.attempts) > 1


class RecentTraces:
    """The last ``size`` recorded exchanges that went well, and as many that did not."""

    def __init__(self, size: int = SIZE) -> None:
        self._well: deque[ExchangeRecord] = deque(maxlen=size)
        self._wrong: deque[ExchangeRecord] = deque(maxlen=size)

    def take(self, records: Sequence[ExchangeRecord]) -> None:
        """Remember these."""
        for record in records:
            (self._wrong if went_wrong(record) else self._well).append(record)

    def last(self, count: int, *, wrong: bool = False, route: str = "") -> list[ExchangeRecord]:
        """Return the last that began, newest first.

        Args:
            count: how many at most.
            wrong: only those that went wrong.
            route: only those of this route; "": of any.
        """
        kept = self._wrong if wrong else chain(self._wrong, self._well)
        found = [record for record in kept if not route or record.route == route]
        return sorted(found, key=lambda record: record.started_ns, reverse=True)[:count]

    def find(self, name: str) -> ExchangeRecord | None:
        """Return the exchange of that request id or trace id, None when it is not remembered."""
        return next((record for record in self._newest() if name in (record.request_id, record.trace_id)), None)

    def _newest(self) -> Iterator[ExchangeRecord]:
        return chain(reversed(self._wrong), reversed(self._well))
