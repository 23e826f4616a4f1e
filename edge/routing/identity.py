"""Conversion of the configured issuers of tokens into those of the Snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.config.check_auth import source_of
from edge.config.compiled import compiled
from edge.terms.snapshot import Issuer

if TYPE_CHECKING:
    from edge.config.schema import Config


def issuers(config: Config) -> tuple[Issuer, ...]:
    """Return the issuers of a configuration, in its order."""
    return tuple(compiled(jwt, Issuer, source=source_of(jwt)) for jwt in config.auth.jwt)
