"""The Snapshot: everything the data path needs in order to decide, complete and immutable.

Control builds a Snapshot from the configuration and sends it whole to every worker, which swaps one reference. An
exchange keeps the Snapshot it began with. Shares are 0..1, sizes are bytes, durations are integer nanoseconds.
Fields have the names of edge.yaml, durations with ``_ns`` at the end (``edge.config.compiled``); defaults stand in the
schema of the configuration alone.
A Snapshot holds credentials: it travels only over the node's private socket, and only ``edge.admin.views``, which omits
them, may show it.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct, field

from edge.terms.copies import Shadow  # noqa: TC001  # msgspec reads the annotation at run time
from edge.terms.credentials import ProviderToken, Signing  # noqa: TC001  # msgspec reads the annotation at run time
from edge.terms.places import Endpoint, Prefill  # noqa: TC001  # msgspec reads the annotation at run time

PRIORITIES: Final = ("high", "normal", "low")
"""Priority classes, indexed by their number in the Snapshot and in the shared state."""


class Timeouts(Struct, frozen=True):
    """Deadlines of a route; ``total_ns`` bounds the whole exchange, the others bound one attempt."""

    connect_ns: int
    first_byte_ns: int
    whole_first_byte_ns: int  # of a model's whole response; 0: none
    first_token_ns: int
    stream_idle_ns: int
    total_ns: int


class Retry(Struct, frozen=True):
    """Attempts per exchange, including the first, and the share of traffic that may be retries."""

    attempts: int
    budget: float
    idempotent: bool
    same_target: int  # how often a target that has failed fast is asked once more, before others
    wait_ns: int  # for a better tier that rests; 0: the next tier is asked at once


class Breaker(Struct, frozen=True):
    """When a target's circuit opens, for how long, and how it recovers; see native/balance/breaker.pxd."""

    consecutive_failures: int
    failure_ratio: float
    window_ns: int
    min_requests: int
    slow_ratio: float
    slow_threshold_ns: int
    slow_adaptive: bool  # slow_threshold_ns is only the maximum; what is late is slow
    open_duration_ns: int
    open_duration_max_ns: int
    slow_start_ns: int


class UpstreamTls(Struct, frozen=True):
    """How to verify an upstream: ``ca`` is a PEM file (None: the system's); ``verify`` False causes a warning."""

    server_name: str
    ca: str | None
    cert: str | None
    key: str | None
    verify: bool
    content: str = ""  # changes with what the files hold


class Price(Struct, frozen=True):
    """What one upstream model costs, in US dollars per million tokens."""

    known: bool  # False: a key with a budget may not use the model; all prices are 0
    input: float
    output: float
    cached_input: float
    reasoning: float
    audio_input: float
    audio_output: float
    image: float
    max_output: int  # tokens that one response can have


class Target(Struct, frozen=True):
    """A provider with an upstream model and a credential, one address of a service, or another region's edge.

    ``slot`` is the index of its record in the shared state.
    """

    id: str
    slot: int
    kind: Literal["model", "service", "region"]
    provider: str  # name of the provider, the service or the region
    model: str  # upstream model; "": the part after the slash in the client's model (a provider's wildcard target)
    host: str
    port: int
    base_path: str  # "/v1" or ""; never ends with a slash
    tls: UpstreamTls | None
    protocol: Literal["http1", "h2c", "h2", "alpn"]  # alpn: h2 or http1, as the TLS handshake of each connection says
    fields: tuple[tuple[str, str], ...]  # credential and fixed headers, added last; names in lower case
    outcomes: str  # key of Snapshot.outcomes
    jurisdiction: str | None
    capabilities: tuple[str, ...]
    max_connections: int  # per worker; 0: no cap
    max_inflight: int  # per node; 0: no cap
    proxy: str  # "": none; "env": as the environment says; else http://host:port
    proxy_credentials: str  # user:password, or empty
    adaptive: bool  # learn the concurrency limit (native/balance/capacity)
    min_concurrency: float  # the learned limit never falls below this
    dialect: Literal["openai", "responses", "anthropic", "gemini"]  # of a model; others have none that counts
    api_version: str  # of Azure's paths, in which the model is a deployment; "": the model stands in the body
    health: str | None = None  # gRPC: service whose health is checked ("": the whole server); None: no check
    probe_path: str | None = None  # a free request to which a healthy target responds with 2xx
    credential: int = -1  # index into Snapshot.credentials; -1: its limits are unknown
    price: Price | None = None  # None: not a model
    model_prices: dict[str, Price] = field(default_factory=dict)  # of a provider's wildcard target, by upstream model
    renewed: str = ""  # the field of a request whose value is a token or signature that is renewed; "": none is
    signing: Signing | None = None  # None: requests are not signed
    media: Literal["openai", "anthropic", "gemini"] = "openai"  # how it counts pictures, sound and files
    # How it is told to continue a last message of the assistant; "": it does not. plain: by that message alone; prefix,
    # partial: by this member of the message; final: by continue_final_message in the body.
    prefill: Prefill = ""


class Member(Struct, frozen=True):
    """Membership of a target in a pool: ``target`` is an index into Snapshot.targets; tier 1 is preferred."""

    target: int
    tier: int
    weight: float
    window: int = 0  # tokens of prompt and answer that a model takes; 0: not known
    is_canary: bool = False  # callers may ask for it, or refuse it, by x-edge-canary


class Queue(Struct, frozen=True):
    """How many exchanges of a route may be queued per worker, and for how long each."""

    limit: int
    wait_ns: int


class CachePolicy(Struct, frozen=True):
    """How long answers of a route are kept, and for whom."""

    ttl_ns: int  # an answer is fresh for this long
    stale_if_error_ns: int  # and may be used for so much longer when no target can answer; 0: it may not
    shared: bool  # callers share answers


class HedgePolicy(Struct, frozen=True):
    """When a second target is asked beside one that shows no content yet, and how often that may happen."""

    percentile: float  # of the target's times to first content, as a share; 0: after_ns holds
    after_ns: int
    budget: float  # share of requests


class Route(Struct, frozen=True):
    """A model alias, a provider's wildcard ("openai/*") or a service, with its pool and its policy."""

    name: str
    slot: int  # index of its record in the shared state
    kind: Literal["model", "service"]
    members: tuple[Member, ...]
    timeouts: Timeouts
    retry: Retry
    breaker: Breaker
    rescue: Literal["never", "same_model", "text"]  # who goes on with a stream that breaks off
    queue: Queue
    shares: tuple[float, float, float]  # of a target at its limit, for high, normal and low
    hedge: HedgePolicy | None  # None: a second target is asked only when the first is late
    cache: CachePolicy | None  # None: every request is asked
    affinity: Literal["none", "auto", "prefix"]  # what is kept where its prompt is in a cache
    prefer: Literal["order", "cost", "latency"]  # which usable target of a tier is asked
    strict: bool  # a target whose dialect cannot carry a hint is not asked
    capabilities: tuple[str, ...] = ()  # what every target has to offer
    copies: Shadow | None = None  # where its requests are copied to; None: nowhere


class ServiceMatch(Struct, frozen=True):
    """Which requests belong to a service: exact host (lower case, no port; "": any) and path prefix ("": any)."""

    route: int
    host: str
    path: str
    grpc: str


class Limits(Struct, frozen=True):
    """Limits on clients and on the memory of the node."""

    body: int
    max_response: int  # a response that is not streamed is buffered up to this size
    header_bytes: int
    header_count: int
    idle_ns: int
    header_timeout_ns: int
    keepalive_comment_ns: int  # interval of SSE comments while the upstream sends nothing
    connections: int  # per worker; further connections are closed at once; 0: as many as open files allow
    retry_buffer: int  # a service's request body up to this size may be sent again
    cache: int  # bytes of the node for answers that are kept
    affinity: int  # bytes of the node for what stays at which target
    issued_ids: int  # ids of which the node remembers who issued them
    max_buffered: int  # bytes of requests that a worker may buffer in total
    body_timeout_ns: int  # for a model's request body to arrive completely
    client_idle_ns: int  # for a client that neither sends nor reads in the middle of a message
    websocket_age_ns: int  # a WebSocket of Responses begins no turn after this


class ListenTls(Struct, frozen=True):
    """Certificate and key files of a listener; with ``client_ca``, clients must present a certificate it verifies."""

    cert: str
    key: str
    client_ca: str | None
    content: str = ""  # changes with what the files hold


class Tracing(Struct, frozen=True):
    """Which exchanges are recorded. Rates are per worker and bound what a burst of failures can cost."""

    sample: float
    slow_ns: int  # a response that begins later is slow; 0: none is
    every_request: bool  # also those that no rule selects, for the access log
    errors_per_second: int  # unsampled exchanges recorded as failed, as slow and as retried, each
    forced_samples_per_second: int  # exchanges sampled because their caller asked for it
    propagation: Literal["continue", "restart"]  # restart: begin a new trace that links to the caller's


class Listener(Struct, frozen=True):
    """An address that workers accept connections on."""

    host: str
    port: int
    tls: tuple[ListenTls, ...]  # empty: in the clear; the first is shown to clients that name no host, or another
    redirect: str  # "": requests are served; https, or where they are sent instead
    allow_anonymous: bool  # requires no key
    checks_host: bool  # on loopback: while no keys are configured, Host must be a name of this machine
    hosts: tuple[str, ...]  # names that Host may be then, lower case
    cors: tuple[str, ...]  # origins of web pages that may use it; "*": any
    trusted_proxies: tuple[str, ...]  # networks of proxies whose X-Forwarded-* fields are believed
    proxy_protocol: bool  # each connection begins with a PROXY header
    max_connection_age_ns: int  # give or take a tenth; 0: no limit
    max_connection_age_grace_ns: int  # how long requests may take after that; 0: no limit


class Allowance(Struct, frozen=True):
    """What a key or credential may use; ``slot`` is the index of its record in the shared state. 0 means no limit.

    Bursts are what may be used at once after an idle period, in requests and in tokens.
    """

    slot: int
    requests_per_minute: int
    tokens_per_minute: int
    requests_burst: int
    tokens_burst: int
    shared: bool  # scope: global; the shared state holds this node's share


class Key(Struct, frozen=True):
    """A client's key, by its SHA-256 (hex); ``slot``, modulo 64, is its bit in the breakers' maps."""

    name: str
    sha256: str  # "": only tokens lead to it
    slot: int
    models: tuple[str, ...]  # aliases, "provider/model", "provider/*" or "service:NAME"; empty: all
    allowance: Allowance | None
    concurrent: int  # concurrent requests; 0: no limit
    budget_nano: int  # US dollars * 1e9 per calendar month (UTC); 0: no limit
    priority: int  # 0 high, 1 normal, 2 low
    identities: tuple[str, ...]  # names in tokens that are this caller, besides ``name``
    groups: tuple[str, ...]  # groups in tokens whose members use it
    certificates: tuple[str, ...]  # names in clients' certificates that are this caller; of DNS in lower case
    apart: bool = False  # each identity that leads to it is a caller of its own, by edge.control.member_book


class Issuer(Struct, frozen=True):
    """An issuer of tokens. Names and groups get its ``prefix`` before they are looked for among the keys."""

    issuer: str  # the claim iss
    audience: str  # the claim aud, or one of it
    source: str  # URL of the JWKS, or of the document that names it; key of Snapshot.signing
    name: str  # claims
    groups: str
    prefix: str
    key: str  # of callers that no key is for; "": they are refused
    leeway_ns: int
    stale_ns: int


class SigningKey(Struct, frozen=True):
    """A public key of an issuer: ``jwk`` is JSON (RFC 7517) with its public members alone."""

    kid: str  # "": it has none
    algorithms: tuple[str, ...]  # which it may verify
    jwk: str


CONFIRMED_WITHIN: Final = 8
"""Workers are told that keys were confirmed each time this part of ``stale`` is over; each telling is a Snapshot."""


class SigningKeys(Struct, frozen=True):
    """The signing keys of a source, and the Unix time of its last word on them, to within an eighth of ``stale``."""

    keys: tuple[SigningKey, ...]
    confirmed: float

    def usable_until(self, stale_ns: int) -> float:
        """Return the Unix time until which they count if the source stays dark: at least ``stale`` after it was not."""
        return self.confirmed + stale_ns * (1 + 1 / CONFIRMED_WITHIN) / 1e9


class Credential(Struct, frozen=True):
    """The limits of a provider's credential. The secret itself is in ``Target.fields``."""

    name: str  # of the provider
    allowance: Allowance


class Peers(Struct, frozen=True):
    """How the edges of other regions are authenticated: by a token, or by a name in their certificate.

    Names are DNS names in lower case, where a leading ``*.`` stands for any one label, or URIs.
    """

    token: str  # "": no token is accepted
    allowed_names: tuple[str, ...]  # empty: no certificate is accepted


class Snapshot(Struct, frozen=True):
    """The complete configuration of the data path. ``models`` maps the names that clients use to indexes of ``routes``.

    ``providers`` maps a provider's name to the route of its wildcard target, which serves a ``provider/model`` that no
    alias names. ``outcomes`` maps a table's name to 600 action codes, one per status (see edge/balance/outcomes.py).
    ``hints`` maps the name of a table, where it has hints, to (status, bytes in the body of such a response, action).
    ``wordings`` are (statuses, words in the body in lower case, action, action where the caller chose the model) of all
    targets of models; the first that fits counts, and comes before hints.
    """

    version: int
    created: float  # Unix time, for display
    region: str
    node: str
    listeners: tuple[Listener, ...]
    targets: tuple[Target, ...]
    routes: tuple[Route, ...]
    models: dict[str, int]
    providers: dict[str, int]
    services: tuple[ServiceMatch, ...]
    limits: Limits
    outcomes: dict[str, bytes]
    keys: tuple[Key, ...]
    tracing: Tracing
    peers: Peers | None  # None: no client is accepted as another edge
    public_status: bool  # whether clients may ask for /edge/status
    demands_keys: bool = False  # callers need a key, although the file has none: the cluster has them
    stored: int = -1  # the route with every provider, for what providers keep under ids; -1: there is none
    issuers: tuple[Issuer, ...] = ()  # whose tokens are accepted
    signing: dict[str, SigningKeys] = field(default_factory=dict)  # the last good keys of each source, by its URL
    credentials: tuple[Credential, ...] = ()
    tokens: dict[str, ProviderToken] = field(default_factory=dict)  # by provider; a restart of control begins with them
    hints: dict[str, tuple[tuple[int, bytes, int], ...]] = field(default_factory=dict)
    wordings: tuple[tuple[tuple[int, ...], tuple[bytes, ...], int, int], ...] = ()
    weights: dict[str, float] = field(default_factory=dict)  # set by operators, by target id; in ``members`` already
    found: dict[str, tuple[Endpoint, ...]] = field(default_factory=dict)  # the last good answers of discovery, by URL
    described: dict[str, tuple[bytes, ...]] = field(
        default_factory=dict
    )  # descriptors of the files of gRPC services that reflect, by the service's full name, each behind its imports
    slots: dict[str, int] = field(default_factory=dict)  # records by target id and "route:" + name; kept over reloads

    @property
    def shadows(self) -> dict[int, Route]:
        """The routes whose requests are copied, by the index of the route that the copies take."""
        return {route.copies.route: route for route in self.routes if route.copies is not None}

    @property
    def told_routes(self) -> tuple[Route, ...]:
        """The routes by which operators are told what happens: without those of copies and of what providers keep."""
        hidden = {self.stored, *self.shadows}
        return tuple(route for index, route in enumerate(self.routes) if index not in hidden)

    @property
    def told_targets(self) -> tuple[Target, ...]:
        """The targets without those that copies alone are sent to."""
        hidden = {member.target for index in self.shadows for member in self.routes[index].members}
        return tuple(target for index, target in enumerate(self.targets) if index not in hidden)
