"""The last recorded exchanges, in memory only.

Exchanges that went wrong are kept separately, so that frequent sampling does not push failures out.
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
    """Return whether an exchange failed, was slow, was broken off, or was retried."""
    return record.kept != "sampled" or record.status >= _FIRST_FAILURE or record.status == 0 or len(record.attempts) > 1


class RecentTraces:
    """The last ``size`` recorded exchanges that went well, and the last ``size`` that went wrong."""

    def __init__(self, size: int = SIZE) -> None:
        self._well: deque[ExchangeRecord] = deque(maxlen=size)
        self._wrong: deque[ExchangeRecord] = deque(maxlen=size)

    def take(self, records: Sequence[ExchangeRecord]) -> None:
        """Add records."""
        for record in records:
            (self._wrong if went_wrong(record) else self._well).append(record)

    def last(self, count: int, *, wrong: bool = False, route: str = "") -> list[ExchangeRecord]:
        """Return the exchanges that began last, newest first.

        Args:
            count: maximum number.
            wrong: only those that went wrong.
            route: only those of this route; "": of any route.
        """
        kept = self._wrong if wrong else chain(self._wrong, self._well)
        found = [record for record in kept if not route or record.route == route]
        return sorted(found, key=lambda record: record.started_ns, reverse=True)[:count]

    def find(self, name: str) -> ExchangeRecord | None:
        """Return the exchange with this request id or trace id, or None."""
        return next((record for record in self._newest() if name in (record.request_id, record.trace_id)), None)

    def _newest(self) -> Iterator[ExchangeRecord]:
        return chain(reversed(self._wrong), reversed(self._well))
