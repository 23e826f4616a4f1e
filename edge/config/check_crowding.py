"""Checks of concurrency limits and of the shares of the priority classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.config.problems import Path, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.config.crowding import Concurrency, Shares
    from edge.config.problems import Document
    from edge.config.schema import Config, Model, Service

WHOLE = 1.0
ROUNDING = 1e-6  # three percentages may add up to slightly more


def crowding(document: Document, config: Config) -> Iterator[Problem]:
    """Check limits and shares where they are written, but not again where they are inherited."""
    yield from _shares(("defaults", "shares"), config.defaults.shares)
    owners: list[tuple[Path, Model | Service]] = [(("models", name), model) for name, model in config.models.items()]
    owners += [(("services", name), service) for name, service in config.services.items()]
    for path, owner in owners:
        if document.written(*path, "shares"):
            yield from _shares((*path, "shares"), owner.shares)
    for name, provider in config.providers.items():
        yield from _limit(("providers", name, "concurrency"), provider.concurrency)
    for name, service in config.services.items():
        yield from _limit(("services", name, "concurrency"), service.concurrency)


def _shares(path: Path, shares: Shares) -> Iterator[Problem]:
    total = shares.high + shares.normal + shares.low
    if total > WHOLE + ROUNDING:
        yield Problem(path, f"high, normal and low add up to {total:.0%}; lower them to 100% or less")


def _limit(path: Path, limit: Concurrency) -> Iterator[Problem]:
    if limit.min > limit.max:
        yield Problem((*path, "min"), f"{limit.min} is more than max, {limit.max}; lower min or raise max")
    elif not limit.min <= limit.initial <= limit.max:
        sentence = f"{limit.initial} is not between min, {limit.min}, and max, {limit.max}; write all three"
        yield Problem((*path, "initial"), sentence)
