"""A family of metrics, as the catalogues describe it."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Kind = Literal["counter", "gauge", "histogram", "summary"]


class Metric(Struct, frozen=True):
    """A family of metrics: its name, kind, labels in order, and the sentence that explains it."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
