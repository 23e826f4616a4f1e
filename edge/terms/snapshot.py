"""What does the data path need to decide, whole and frozen?

Control builds one Snapshot from the configuration, sends it to every worker whole, and they swap one reference. An
exchange keeps the one it began with. Durations are integer nanoseconds, shares are 0..1, sizes are bytes.
A Snapshot holds credentials: it travels only over the node's private socket and is shown only through
``edge.admin.views``, which leaves them out.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct, field

CLASSES: Final = ("high", "normal", "low")
"""Priority classes, by the number that Snapshot and shared state know them by."""


class Timeouts(Struct, frozen=True):
    """Deadlines of one route; ``total_ns`` bounds the whole exchange, the others one attempt."""

    connect_ns: int
    first_byte_ns: int
    first_token_ns: int
    stream_idle_ns: int
    total_ns: int


class Retry(Struct, frozen=True):
    """Attempts per exchange (the first included), and the share of traffic that may be retries."""

    attempts: int
    budget: float


class Breaker(Struct, frozen=True):
    """When a target's circuit opens, for how long, and how it comes back; see native/balance/breaker.pxd for each."""

    consecutive_failures: int
    failure_ratio: float
    window_ns: int
    min_requests: int
    slow_ratio: float
    slow_threshold_ns: int
    slow_adaptive: bool  # slow_threshold_ns is only the most; what the target usually needs decides
    open_duration_ns: int
    open_duration_max_ns: int
    slow_start_ns: int


class UpstreamTls(Struct, frozen=True):
    """How to verify an upstream: ``ca`` a PEM file (None: the system's); ``verify`` False is for tests, said aloud."""

    server_name: str
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    verify: bool = True


class Target(Struct, frozen=True):
    """One provider + upstream model + credential, or one address of a service; ``slot`` is its shared record."""

    id: str
    slot: int
    kind: Literal["model", "service", "region"]
    provider: str  # provider name, or service name
    model: str  # upstream model; "" = keep what the client wrote after the slash (a provider's wildcard target)
    host: str
    port: int
    base_path: str  # "/v1" or ""; never ends in a slash
    tls: UpstreamTls | None
    protocol: Literal["http1", "h2c", "h2"]
    fields: tuple[tuple[str, str], ...]  # credential and fixed headers, lower-case names, added last
    outcomes: str  # name of a table in Snapshot.outcomes
    jurisdiction: str | None = None
    capabilities: tuple[str, ...] = ()
    max_connections: int = 256  # per worker
    max_inflight: int = 0  # per node; 0 = no cap
    health: str | None = None  # gRPC: the service whose health is asked ("" the whole server); None: not asked
    probe_path: str | None = None  # a free request that a healthy target answers with 2xx
    credential: int = -1  # index into Snapshot.credentials; -1 = nothing is known of its allowance
    price_input: float = 0.0  # US dollars per million tokens; 0 = not known, costs nothing
    price_output: float = 0.0
    adaptive: bool = False  # learn how many requests it takes at once (native/balance/capacity)
    concurrency: tuple[float, float, float] = (64.0, 4.0, 5000.0)  # requests at once: initial, least, most


class Member(Struct, frozen=True):
    """A target's place in a pool: ``target`` indexes Snapshot.targets; tier 1 is preferred."""

    target: int
    tier: int = 1
    weight: float = 1.0


class Queue(Struct, frozen=True):
    """How many exchanges of a route may wait for a place, per worker, and how long each."""

    limit: int = 1024
    wait_ns: int = 5_000_000_000


class Route(Struct, frozen=True):
    """One model alias, one provider wildcard ("openai/*") or one service, with its pool and its policy."""

    name: str
    slot: int  # its record on the SharedState
    kind: Literal["model", "service"]
    members: tuple[Member, ...]
    timeouts: Timeouts
    retry: Retry
    breaker: Breaker
    rescue: Literal["never", "text"] = "never"
    queue: Queue = Queue()
    shares: tuple[float, float, float] = (0.5, 0.3, 0.2)  # of a full target, for high, normal and low


class ServiceMatch(Struct, frozen=True):
    """Which requests belong to a service: exact host (lower case, no port; "" = any) and a path prefix ("" = any)."""

    route: int
    host: str = ""
    path: str = ""
    grpc: str = ""


class Limits(Struct, frozen=True):
    """Bounds on what clients may ask of the node, and make it hold."""

    body: int
    max_response: int  # a non-streaming answer is held whole up to here
    header_bytes: int
    header_count: int
    idle_ns: int
    header_timeout_ns: int
    keepalive_comment_ns: int  # SSE comments while nothing has come
    connections: int  # per worker; over it, new ones are closed at once
    retry_buffer: int  # a service's request body up to here may be sent again
    max_buffered: int = 256 * 1024**2  # bytes of requests that a worker holds at once
    body_timeout_ns: int = 300_000_000_000  # for a model's body to come whole
    client_idle_ns: int = 30_000_000_000  # a client that neither sends nor reads in the middle of a message


class ListenTls(Struct, frozen=True):
    """Certificate and key files of a listener; ``client_ca`` asks clients for certificates and verifies them."""

    cert: str
    key: str
    client_ca: str | None = None


class Tracing(Struct, frozen=True):
    """Which exchanges are recorded. Rates are per second and worker, and bound what cannot be foreseen."""

    sample: float = 0.01
    slow_ns: int = 10_000_000_000  # an answer that begins later is slow; 0 = none is
    errors_per_second: int = 10  # of failed, of slow and of retried exchanges each, though they were not sampled
    forced_samples_per_second: int = 100  # exchanges sampled because their caller says so
    propagation: Literal["continue", "restart"] = "continue"  # restart: a new trace begins, with a link to the caller's


class Listener(Struct, frozen=True):
    """One address that workers accept on."""

    host: str
    port: int
    tls: ListenTls | None = None
    allow_anonymous: bool = False  # asks for no key


class Allowance(Struct, frozen=True):
    """What one key or credential may use; ``slot`` is its record on the shared state. 0 is no bound.

    Bursts are what may be used at once after a time of rest, in requests and in tokens.
    """

    slot: int
    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    requests_burst: int = 0
    tokens_burst: int = 0
    shared: bool = False  # scope: global; the shared state says this node's share


class Key(Struct, frozen=True):
    """A caller's key by its SHA-256 (hex); ``slot`` is its place in the breakers' bit maps (modulo 64)."""

    name: str
    sha256: str
    slot: int
    models: tuple[str, ...] = ()  # aliases, "provider/model", "provider/*" or "service:NAME"; empty: all
    allowance: Allowance | None = None
    concurrent: int = 0  # requests at once; 0 = no bound
    budget_nano: int = 0  # US dollars * 1e9 per calendar month (UTC); 0 = no bound
    priority: int = 1  # 0 high, 1 normal, 2 low


class Credential(Struct, frozen=True):
    """A provider's credential, as far as its allowance goes. The secret itself stands in ``Target.fields``."""

    name: str  # the provider
    allowance: Allowance


class Peers(Struct, frozen=True):
    """How other regions' edges are believed to be what they say: by a token, or by a name in their certificates.

    Names are DNS names in lower case, ``*.`` at the beginning for any one label, or URIs.
    """

    token: str  # "": nobody is believed by one
    allowed_names: tuple[str, ...] = ()  # empty: nobody is believed by a certificate


class Snapshot(Struct, frozen=True):
    """Everything at once. ``models`` maps what clients ask for to an index into ``routes``.

    ``providers`` maps a provider's name to the route of its wildcard target, for ``provider/model`` that no alias
    names. ``outcomes`` maps a table's name to 600 action codes, one per status (see edge/balance/outcomes.py);
    ``hints`` maps the same name, where there are any, to (status, bytes in the body of an answer of that status,
    action instead).
    """

    version: int
    created: float  # Unix time, for people
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
    keys: tuple[Key, ...] = ()
    credentials: tuple[Credential, ...] = ()
    tracing: Tracing = Tracing()
    peers: Peers | None = None  # None: nobody is believed to be another edge
    hints: dict[str, tuple[tuple[int, bytes, int], ...]] = field(default_factory=dict)
    slots: dict[str, int] = field(
        default_factory=dict
    )  # shared state slots by target id and "route:" + name, kept over reloads
