"""Keeps the answers of models that have a cache; the hook ``Cache`` of the data path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.cache.question import question

if TYPE_CHECKING:
    from edge.native import AnswerStore


class Answers:
    """Answers in the node's shared memory. No method blocks; times are monotonic nanoseconds.

    The methods are the store's own, so that no Python code runs for an answer that is kept.
    """

    def __init__(self, store: AnswerStore) -> None:
        self.question = question
        self.find = store.find
        self.keep = store.keep
        self.begin = store.begin
        self.flying = store.flying
        self.end = store.end
