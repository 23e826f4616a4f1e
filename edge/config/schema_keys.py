"""Clients' keys, the limits of providers' credentials, and prices, as sections of edge.yaml.

As everywhere in the file, 0 requests or tokens means no limit.
"""

from typing import Annotated, Final, Literal

from msgspec import Struct

from edge.config.fields import about

# A larger value is a typing mistake; the bound also keeps sums of such values within 64 bits.
MOST: Final = 10**12

Scope = Literal["node", "global"]


class Price(Struct, frozen=True, forbid_unknown_fields=True):
    """What one model costs, in US dollars per million tokens. Budgets are charged by it. A written 0 is free."""

    input: Annotated[
        float | None,
        about("Tokens of the prompt. Default: 0 if output is written.", low=0, high=100_000),
    ] = None
    output: Annotated[
        float | None,
        about("Tokens of the response. Default: 0 if input is written.", low=0, high=100_000),
    ] = None
    cached_input: Annotated[
        float | None,
        about("Tokens of the prompt that the provider read from its cache. Default: as input.", low=0, high=100_000),
    ] = None
    reasoning: Annotated[
        float | None, about("Tokens of the response that are reasoning. Default: as output.", low=0, high=100_000)
    ] = None
    audio: Annotated[
        float | None,
        about("Tokens of sound, in prompt and response. Default: as input and output.", low=0, high=100_000),
    ] = None
    image: Annotated[
        float | None, about("Tokens of pictures in the prompt. Default: as input.", low=0, high=100_000)
    ] = None

    @property
    def known(self) -> bool:
        """Whether the file, or what edge knows, says what the model costs."""
        return self.input is not None or self.output is not None


class ProviderLimits(Struct, frozen=True, forbid_unknown_fields=True):
    """What the provider grants this credential. While it is used up, the provider's targets are passed over."""

    requests_per_minute: Annotated[
        int, about("Attempts per minute, a tenth of them at once. 0: no known limit.", low=0, high=MOST)
    ] = 0
    tokens_per_minute: Annotated[
        int, about("Tokens per minute, prompt and response together. 0: no known limit.", low=0, high=MOST)
    ] = 0
    scope: Annotated[Scope, about("node: each node may use all of it. global: the nodes of a cluster share it.")] = (
        "node"
    )


class Each(Struct, frozen=True, forbid_unknown_fields=True):
    """What each identity that leads to a key by a token or a certificate may use, in place of what all may together."""

    requests_per_minute: Annotated[int, about("As of a key. 0: no limit.", low=0, high=MOST)] = 0
    tokens_per_minute: Annotated[int, about("As of a key. 0: no limit.", low=0, high=MOST)] = 0
    concurrent: Annotated[int, about("As of a key. 0: no limit.", low=0, high=1_000_000)] = 0
    budget: Annotated[
        float | None, about("US dollars per calendar month (UTC). Default: no limit.", above=0, high=1_000_000_000)
    ] = None
    most: Annotated[
        int,
        about(
            "Identities that have limits of their own at once, on each node. Further ones share what one may use, "
            "until others have been idle.",
            low=1,
            high=100_000,
        ),
    ] = 1000


class Key(Struct, frozen=True, forbid_unknown_fields=True):
    """A caller and what it may use. `edge keys new NAME` makes the key and prints these lines."""

    name: Annotated[str, about("Shown in status, metrics and logs; the key itself is stored nowhere.")]
    sha256: Annotated[
        str,
        about(
            "SHA-256 of the key, 64 hex digits, as `edge keys new` prints it. Empty: only tokens or certificates lead "
            "here."
        ),
    ] = ""
    identities: Annotated[
        tuple[str, ...], about("Names in tokens that are this caller, besides its own name (auth.jwt).")
    ] = ()
    groups: Annotated[
        tuple[str, ...],
        about("Groups in tokens whose members use this key, and share its limits, unless a key is for their name."),
    ] = ()
    certificates: Annotated[
        tuple[str, ...],
        about(
            "Names in clients' certificates that are this caller: URIs such as spiffe://DOMAIN/PATH, or DNS names. They"
            " need a listener with tls.client_ca."
        ),
    ] = ()
    models: Annotated[
        tuple[str, ...],
        about(
            "What the key may ask for: aliases, provider/model, provider/* and service:NAME. Empty: "
            "everything, services included."
        ),
    ] = ()
    each: Annotated[
        Each | None,
        about(
            "Limits of each identity that leads here, which is a caller of its own then, such as research/ann. Not "
            "beside limits that all share."
        ),
    ] = None
    requests_per_minute: Annotated[
        int, about("Requests per minute. Above it: 429 with the exact Retry-After. 0: no limit.", low=0, high=MOST)
    ] = 0
    tokens_per_minute: Annotated[
        int,
        about(
            "Tokens of prompts and responses together, estimated when a request arrives and corrected by what "
            "the provider reports. 0: no limit.",
            low=0,
            high=MOST,
        ),
    ] = 0
    requests_burst: Annotated[
        int,
        about(
            "Requests at once after a pause. 0: a tenth of a minute's requests, at least one, so that no "
            "minute sees more than a tenth above the limit.",
            low=0,
            high=MOST,
        ),
    ] = 0
    tokens_burst: Annotated[
        int,
        about(
            "Tokens at once after a pause. 0: one minute's tokens, because a single large prompt may need that many.",
            low=0,
            high=MOST,
        ),
    ] = 0
    concurrent: Annotated[
        int, about("Concurrent requests, on each node or on all together by scope. 0: no limit.", low=0, high=1_000_000)
    ] = 0
    budget: Annotated[
        float | None,
        about(
            "US dollars per calendar month (UTC), by the prices of the targets that answered. Above it: 429 "
            "until the month ends. Default: no limit.",
            above=0,
            high=1_000_000_000,
        ),
    ] = None
    priority: Annotated[
        Literal["high", "normal", "low"],
        about("Which requests are admitted first when a target is full. low is shed first."),
    ] = "normal"
    scope: Annotated[Scope, about("node: each node grants all of it. global: the nodes of a cluster share it.")] = (
        "node"
    )
