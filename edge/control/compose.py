"""How does a configuration become a Snapshot?  Here the rooms that may not meet are handed what the others know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.balance import outcomes, policy
from edge.config.check import check
from edge.config.load import from_environment, read
from edge.config.problems import Document, errors
from edge.errors import ConfigInvalidError
from edge.providers import KNOWN
from edge.routing.planner import plan

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from edge.config.schema import Config
    from edge.terms.places import Peer
    from edge.terms.snapshot import Snapshot


def checked(document: Document) -> Config:
    """Return a document's configuration when it may be used; its warnings are the caller's to show.

    Raises:
        ConfigInvalidError: with every error, each with its place.
    """
    found = errors(check(document, KNOWN))
    if found:
        raise ConfigInvalidError([problem.text(document.source) for problem in found])
    return document.config


def load_checked(path: str | os.PathLike[str]) -> Config:
    """Return the configuration in a file when it may be used.

    Raises:
        ConfigInvalidError: with every error, each with its place.
    """
    return checked(read(path))


def from_keys(environ: Mapping[str, str]) -> Config | None:
    """Return a configuration of the providers whose keys are in the environment; None when there is none.

    Raises:
        ConfigInvalidError: what the environment says cannot be used.
    """
    config = from_environment(environ, KNOWN)
    return None if config is None else checked(Document(config, source="the environment"))


def compile_config(
    config: Config,
    *,
    now: float,
    previous: Snapshot | None = None,
    capacity: tuple[int, int] | None = None,
    allowance_capacity: int | None = None,
    peers: Sequence[Peer] = (),
) -> Snapshot:
    """Compile a checked configuration into the next Snapshot.

    Args:
        config: what the operator wants.
        now: Unix time, seconds.
        previous: the Snapshot it follows: its version is counted on, its shared state records are kept.
        capacity: records of targets and routes that the shared state has; None before there is a shared state.
        allowance_capacity: its records of keys and credentials; None before there is a shared state.
        peers: edges of other regions that are known beside those of the configuration.

    Raises:
        ConfigInvalidError: the shared state this node started with is too small for it.
    """
    return plan(
        config,
        known=KNOWN,
        outcomes=outcomes.TABLES,
        breaker=policy.breaker,
        version=previous.version + 1 if previous else 1,
        now=now,
        slots=previous.slots if previous else None,
        capacity=capacity,
        allowance_capacity=allowance_capacity,
        peers=peers,
    )
