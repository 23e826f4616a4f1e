"""Checks of the shares of the priorities."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.config.problems import Path, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.config.crowding import Shares
    from edge.config.problems import Document
    from edge.config.schema import Config, Model, Service

WHOLE = 1.0
ROUNDING = 1e-6  # three percentages may add up to slightly more


def crowding(document: Document, config: Config) -> Iterator[Problem]:
    """Check shares where they are written, but not again where they are inherited."""
    yield from _shares(("defaults", "shares"), config.defaults.shares)
    owners: list[tuple[Path, Model | Service]] = [(("models", name), model) for name, model in config.models.items()]
    owners += [(("services", name), service) for name, service in config.services.items()]
    for path, owner in owners:
        if document.written(*path, "shares"):
            yield from _shares((*path, "shares"), owner.shares)


def _shares(path: Path, shares: Shares) -> Iterator[Problem]:
    total = shares.high + shares.normal + shares.low
    if total > WHOLE + ROUNDING:
        yield Problem(path, f"high, normal and low add up to {total:.0%}; lower them to 100% or less")
