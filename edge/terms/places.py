"""Descriptions of providers and of peer edges.

The facts about each provider live in one file per provider in ``edge.providers``; packages that may not import that
one get them as a mapping by name.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

Dialect = Literal["openai", "responses", "anthropic", "gemini"]

MediaRule = Literal["openai", "anthropic", "gemini"]
"""How pictures, sound and files become tokens: numbers and order as in native/codec/media.pxd."""


Prefill = Literal["", "plain", "prefix", "partial", "final"]
"""How a target is told to continue a last message of the assistant: see :class:`edge.terms.snapshot.Target`."""


class Hint(Struct, frozen=True):
    """A refinement of a status by the body: if ``needle`` occurs in the body of a ``status``, it means ``action``.

    ``action`` and ``wildcard`` are codes of ``edge.terms.actions``. ``wildcard`` applies where the client chose the
    upstream model (``provider/model`` without an alias), so that a client cannot take a provider out for everybody.
    """

    status: int
    needle: bytes
    action: int
    wildcard: int


class Wording(Struct, frozen=True):
    """A refinement of some statuses by words that providers of one dialect share: all ``words`` occur in the body.

    Words are in lower case and are compared without regard to case. What takes a target from others by itself must hold
    a quotation mark (see ``Hint``): inside a JSON string it would be escaped, so a caller cannot have it echoed.
    """

    statuses: tuple[int, ...]
    words: tuple[bytes, ...]
    action: int
    wildcard: int


class Provider(Struct, frozen=True):
    """How a known provider is called, and what it offers.

    ``dialect`` also says how the key is sent; ``probe`` is a path under ``base_url`` that costs nothing; ``chat_model``
    and ``embed_model`` are small, cheap defaults for a start without a configuration file; ``retired`` pairs the name
    of a model that was shut down with its successor; ``prices`` are US dollars per million tokens of prompt, completion
    and, where it is known, cached prompt by model, as of the day ``priced``; ``max_outputs`` are the most tokens that a
    response can have, by model; ``prefill`` is how it is told to continue a last message of the assistant, if it has
    that capability (see ``edge.terms.snapshot.Target``); ``media`` is the rule by which it counts pictures, sound and
    files as tokens; ``status_page`` is the address of a document that ``edge.incidents.pages`` reads, with the
    component to look at as its fragment; without ``base_url`` it runs on the user's machines, or has one for each
    customer; ``credential`` is the field that its key is sent in and what stands before the key, if not that of its
    dialect; ``root`` is where its API begins if ``base_url`` has no path, for one that has versions (``api_version``);
    ``regional_url`` is its ``base_url`` in each of its regions, ``{region}`` standing for the name and ``{domain}`` for
    that of AWS there, and ``laws`` the jurisdiction by region, which models whose names begin with one of
    ``several_laws`` have not; ``windows`` are the tokens of prompt and answer together that a model takes, by model;
    ``spoken`` is the price of sound in a prompt, where it differs from that of text, by model; ``limit_fields`` are how
    the names of response fields begin in which it tells its limits, and ``lacks`` says of each fact that is missing
    here why it is.

    No price of reasoning stands here: every provider bills it as output, and counts it there. Where output costs more
    with reasoning, the higher price stands here. Pictures in a prompt are billed as the tokens of text that they count
    for. A model that makes pictures bills them as output.
    """

    name: str
    base_url: str
    dialect: Dialect = "openai"
    jurisdiction: str | None = None
    capabilities: tuple[str, ...] = ()
    probe: str = ""
    chat_model: str = ""
    embed_model: str = ""
    key_variables: tuple[str, ...] = ()
    url_variable: str = ""
    hints: tuple[Hint, ...] = ()
    retired: tuple[tuple[str, str], ...] = ()
    prices: dict[str, tuple[float, ...]] = field(default_factory=dict)
    spoken: dict[str, float] = field(default_factory=dict)
    priced: str = ""
    status_page: str = ""
    needs_key: bool = True
    windows: dict[str, int] = field(default_factory=dict)
    max_outputs: dict[str, int] = field(default_factory=dict)
    media: MediaRule = "openai"
    prefill: Prefill = "plain"
    credential: tuple[str, str] | None = None
    root: str = ""
    regional_url: str = ""
    laws: dict[str, str] = field(default_factory=dict)
    several_laws: tuple[str, ...] = ()
    limit_fields: tuple[str, ...] = ()
    lacks: dict[str, str] = field(default_factory=dict)


OF_ONE_S_OWN = {
    "base_url": "it runs on machines of yours",
    "jurisdiction": "it is that of these machines",
    "windows": "it is as the server was started; targets name context_window",
    "prices": "no tokens are billed",
    "limit_fields": "it has no accounts",
    "hints": "its refusals have the wordings of all",
    "status_page": "it is yours",
}
"""Why facts are missing of what runs on machines of one's own."""


class Peer(Struct, frozen=True):
    """An edge of another region; ``address`` is host:port."""

    region: str
    address: str


class Endpoint(Struct, frozen=True, order=True):
    """An address that a source of discovery names, ``host`` numeric or a name. ``tier`` 1 is preferred."""

    host: str
    port: int
    tier: int = 1
    weight: float = 1.0
    zone: str = ""  # "": unknown
    name: str = ""  # to verify in its certificate; "": the host

    @property
    def address(self) -> str:
        """The address as ``host:port`` or ``[v6]:port``."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


CAPABILITIES = (
    "batches",
    "chat",
    "completions",
    "conversations",
    "embeddings",
    "files",
    "fine_tuning",
    "image",
    "images",
    "json",
    "moderation",
    "prefill",
    "rerank",
    "responses",
    "speech",
    "tools",
    "transcription",
    "translation",
    "vector_stores",
)
"""What a target may offer, and a route require: the operations, of which ``image`` makes pictures; image parts
(``images``), JSON output and tool calls in a chat; and that it continues a last message of the assistant."""
