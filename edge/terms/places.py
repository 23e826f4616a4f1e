"""What is a provider, as far as the rest of the house must know?

The facts themselves stand one file per provider in ``edge.providers``; rooms that may not import that room are handed
them as a mapping by name.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

Dialect = Literal["openai"]


class Hint(Struct, frozen=True):
    """An answer whose body says more than its status: ``needle`` found in the body of ``status`` means ``action``.

    ``action`` and ``wildcard`` are codes of ``edge.balance.outcomes``; ``wildcard`` holds where the caller chose the
    upstream model (``provider/model`` that no alias names), so that a caller cannot bench a provider for everybody.
    """

    status: int
    needle: bytes
    action: int
    wildcard: int


class Provider(Struct, frozen=True):
    """How a provider of a known name wants to be asked, and what it offers.

    ``auth`` is a header's name and what stands before the key; ``probe`` a path under ``base_url`` that costs nothing;
    ``chat_model`` and ``embed_model`` small, cheap defaults for a start without a configuration file; ``retired`` pairs
    of a model name that no longer answers and its successor; ``prices`` US dollars per million tokens of prompt and
    answer by model, as they were on the day ``priced``.
    """

    name: str
    base_url: str
    dialect: Dialect = "openai"
    auth: tuple[str, str] = ("authorization", "Bearer ")
    jurisdiction: str | None = None
    capabilities: tuple[str, ...] = ()
    probe: str = ""
    chat_model: str = ""
    embed_model: str = ""
    key_variables: tuple[str, ...] = ()
    url_variable: str = ""
    hints: tuple[Hint, ...] = ()
    retired: tuple[tuple[str, str], ...] = ()
    prices: dict[str, tuple[float, float]] = field(default_factory=dict)
    priced: str = ""


class Peer(Struct, frozen=True):
    """An edge of another region: where it is asked. ``address`` is host:port."""

    region: str
    address: str


CAPABILITIES = ("chat", "completions", "embeddings", "images", "json", "responses", "tools")
"""What a target may be required to offer: the four doors, and image parts, JSON output and tool calls in a chat."""
