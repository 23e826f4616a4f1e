"""Gives the data path the types of its records and takes the finished ones: the RecordSink hook of a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.terms.trace import AttemptRecord, ExchangeRecord

if TYPE_CHECKING:
    from collections.abc import Callable


class RecordSink:
    """Makes records of exchanges and hands them on in batches.

    Args:
        take: takes a batch, oldest first; returns False when the batch is lost.
    """

    exchange = ExchangeRecord
    attempt = AttemptRecord

    def __init__(self, take: Callable[[list[ExchangeRecord]], bool]) -> None:
        self.take = take
