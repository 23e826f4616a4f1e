"""What may an edge.yaml say?  Every section and field, with its unit, its default and what follows from it.

Defaults are meant to be right for most; what is written here is also what ``edge config schema`` and
``docs/configuration.md`` say, word for word. Only what this version does is accepted; ``PLANNED`` names keys that a
reader of the design may try, each with an honest sentence.
"""

import os
import platform
from typing import Annotated, Final, Literal

from msgspec import Struct, field

from edge.config.crowding import Concurrency, Queue, Shares
from edge.config.fields import MAY_BE_SHORT, Duration, FilePath, Secret, Share, about
from edge.config.schema_cluster import Cluster
from edge.config.schema_keys import Key, Price, ProviderLimits
from edge.config.schema_limits import Limits
from edge.config.schema_peers import Peers
from edge.config.schema_telemetry import Log, Telemetry
from edge.config.units import NS_PER_MS, NS_PER_S
from edge.terms.places import Dialect

MINUTE: Final = 60 * NS_PER_S
MOST_WORKERS: Final = 64  # EDGE_MAX_WORKERS in native/state/shared_state.h: in-flight counts have one column per worker
MOST_MEMBERS: Final = 64  # native/balance/balancer.pxd: a pool's tried targets are bits of one word


def usable_cpus() -> int:
    """Count the CPUs this process may run on, at most one worker for each of the shared state's columns."""
    return min(len(os.sched_getaffinity(0)), MOST_WORKERS)


class Node(Struct, frozen=True, forbid_unknown_fields=True):
    """This machine's place in the world."""

    region: Annotated[str, about("The region this edge serves; shown in answers, status and metrics.")] = "local"
    name: Annotated[str, about("This node's name in status and metrics; the host name when left out.")] = field(
        default_factory=platform.node
    )
    workers: Annotated[
        int,
        about(
            "Processes that carry traffic, each on one CPU; one per usable CPU when left out. 0 runs everything in one "
            "process, for tests and debugging.",
            low=0,
            high=MOST_WORKERS,
        ),
    ] = field(default_factory=usable_cpus)
    drain_grace: Annotated[
        Duration,
        about(
            "When told to drain, the node says at /ready that it is not, and still accepts for this long, so that load "
            "balancers notice first. Longer than their check takes to fail; 0s when there are none."
        ),
    ] = 5 * NS_PER_S
    state_dir: Annotated[
        FilePath | None,
        about(
            "Folder for the last good configuration, credentials included (mode 0600): a node whose file is missing or "
            "broken starts from it. When left out $XDG_STATE_HOME/edge, else /var/lib/edge if that can be written; "
            'nothing is kept when it is "".'
        ),
    ] = None


class ListenTls(Struct, frozen=True, forbid_unknown_fields=True):
    """Certificates of a listener."""

    cert: Annotated[FilePath, about("PEM file with the certificate and its chain, shown to clients.")]
    key: Annotated[FilePath, about("PEM file with the private key of the certificate, not encrypted.")]
    client_ca: Annotated[
        FilePath | None, about("PEM file of authorities; clients must show a certificate signed by one of them.")
    ] = None


class Listen(Struct, frozen=True, forbid_unknown_fields=True):
    """An address that clients connect to."""

    address: Annotated[str, about("host:port, [v6]:port; port 0 takes a free one, which is printed at the start.")] = (
        "127.0.0.1:8080"
    )
    tls: Annotated[ListenTls | None, about("Serve HTTPS with these files; plain HTTP when left out.")] = None
    allow_anonymous: Annotated[
        bool,
        about(
            "Accept callers without a key here. Whoever reaches the address spends your providers' credit, so an "
            "address off loopback needs keys, or client_ca that asks for certificates, or this."
        ),
    ] = False


class Admin(Struct, frozen=True, forbid_unknown_fields=True):
    """Where operators look: status, metrics, health."""

    address: Annotated[str, about("host:port of the admin listener.")] = "127.0.0.1:9901"
    token: Annotated[
        Secret, about("Bearer token that every admin request must carry; required off loopback, no check when empty.")
    ] = Secret()


class UpstreamTls(Struct, frozen=True, forbid_unknown_fields=True):
    """How to verify whom we call, and how to prove who we are."""

    ca: Annotated[FilePath | None, about("PEM file of authorities to trust; the system's when left out.")] = None
    cert: Annotated[FilePath | None, about("PEM file of our client certificate; needs key too.")] = None
    key: Annotated[FilePath | None, about("PEM file of our client certificate's private key.")] = None
    server_name: Annotated[str, about("Name to ask for and verify; the target's host when empty.")] = ""
    verify: Annotated[
        bool, about("false believes any certificate: whoever sits between reads your keys. For tests only.")
    ] = True


class Provider(Struct, frozen=True, forbid_unknown_fields=True):
    """A company or machine that answers models. Known names (openai, anthropic, deepseek, gemini) need only a key."""

    dialect: Annotated[Dialect, about("The JSON language it speaks.")] = "openai"
    base_url: Annotated[
        str, about("Where its API begins, such as https://api.openai.com/v1; known names have one, others need it.")
    ] = ""
    api_key: Annotated[Secret, about("Sent as Authorization: Bearer; no such header when empty.")] = Secret()
    headers: Annotated[
        dict[str, Secret], about("Fixed headers added to each of its requests, such as openai-organization.")
    ] = field(default_factory=dict)
    jurisdiction: Annotated[
        str, about("Whose law it answers to, such as eu or us; compared with require.jurisdiction.")
    ] = ""
    capabilities: Annotated[
        tuple[str, ...] | None,
        about("What it offers: chat, completions, embeddings, images, json, responses, tools; compared with require."),
    ] = None
    probe: Annotated[
        str | None,
        about("Path under base_url that answers 2xx at no cost, asked while it is ill; empty switches probes off."),
    ] = None
    tls: Annotated[UpstreamTls, about("How to verify it when base_url is https.")] = UpstreamTls()
    max_connections: Annotated[
        int, about("Most connections to each of its targets, per worker; more requests wait for one.", low=1)
    ] = 256
    max_inflight: Annotated[
        int,
        about("Most requests at once to each of its targets, per node; over it they go elsewhere. 0: no cap.", low=0),
    ] = 0
    limits: Annotated[ProviderLimits, about("What it grants this credential, so that it is not asked in vain.")] = (
        ProviderLimits()
    )
    prices: Annotated[
        dict[str, Price],
        about(
            "What its models cost, by upstream model, where that differs from what edge knows; `*` stands for models "
            "that nobody has named. What has no price costs a budget nothing."
        ),
    ] = field(default_factory=dict)
    concurrency: Annotated[Concurrency, about("How the limit of each of its targets is learned.")] = Concurrency()


class Timeouts(Struct, frozen=True, forbid_unknown_fields=True):
    """Deadlines. The first four bound one attempt, total the whole exchange with all its attempts."""

    connect: Annotated[
        Duration, about("To have a connection, name look-up and TLS included; then the next target.", low=NS_PER_MS)
    ] = 2 * NS_PER_S
    first_byte: Annotated[
        Duration,
        about(
            "From the request being sent to the answer's head, or to 100 (Continue) where the client waits for that; "
            "then the next target.",
            low=NS_PER_MS,
        ),
    ] = 30 * NS_PER_S
    first_token: Annotated[
        Duration,
        about(
            "From the request being sent to the first content of a stream; comments, pings and role-only events do "
            "not count. Then the next target. Services ignore it.",
            low=NS_PER_MS,
        ),
    ] = 30 * NS_PER_S
    stream_idle: Annotated[
        Duration,
        about(
            "Longest silence within an answer; then the stream ends with an honest error. And longest time in which a "
            "service takes nothing of an upload; then the next target, or 504.",
            low=NS_PER_MS,
        ),
    ] = 30 * NS_PER_S
    total: Annotated[
        Duration, about("The whole exchange; when it runs out the caller gets an error at once.", low=NS_PER_MS)
    ] = 10 * MINUTE


CALL_TIMEOUTS: Final = Timeouts(first_byte=0, first_token=0, stream_idle=0, total=0)
"""Of a gRPC service where nothing is written: 0 is off. Calls may stream for days, and callers bring deadlines."""


class Retry(Struct, frozen=True, forbid_unknown_fields=True):
    """How often one exchange may try, and how much of all traffic may be tries after the first."""

    attempts: Annotated[int, about("Tries of one exchange, the first included; 1 never retries.", low=1, high=10)] = 3
    budget: Annotated[
        Share,
        about("Retries as a share of traffic, plus a small floor: an outage is not made worse by storms of retries."),
    ] = 0.2


class Breaker(Struct, frozen=True, forbid_unknown_fields=True):
    """When a target's circuit opens, for how long, and how it comes back."""

    consecutive_failures: Annotated[int, about("Failures in a row that open it; 0 switches this rule off.", low=0)] = 5
    failure_ratio: Annotated[Share, about("Share of failures within the window that opens it; 0% switches it off.")] = (
        0.5
    )
    window: Annotated[
        Duration, about("How far back the shares look: whole seconds, 1s to 10s.", low=NS_PER_S, high=10 * NS_PER_S)
    ] = 10 * NS_PER_S
    min_requests: Annotated[
        int, about("Answers within the window below which no share opens it: a few requests prove nothing.", low=1)
    ] = 10
    slow_ratio: Annotated[
        Share, about("Share of slow answers within the window that opens it; 0% switches it off.")
    ] = 0.5
    slow_threshold: Annotated[
        Duration | None,
        about(
            "An answer whose first token (services: first byte) comes later than this is slow. Left out: four times "
            "what the target usually needs, between 2s and half of that deadline.",
            low=NS_PER_MS,
        ),
    ] = None
    open_duration: Annotated[
        Duration,
        about(
            "How long it stays open the first time; doubled, with jitter, each time after. Where no target is usable, "
            "one request may try it this often, and once a second if this is longer.",
            low=NS_PER_MS,
        ),
    ] = NS_PER_S
    open_duration_max: Annotated[
        Duration, about("The longest it stays open before one request may try.", low=NS_PER_MS)
    ] = MINUTE
    slow_start: Annotated[
        Duration, about("After recovery its share of traffic grows from a tenth to all over this time; 0s: at once.")
    ] = 10 * NS_PER_S


class Require(Struct, frozen=True, forbid_unknown_fields=True):
    """What every target must satisfy. Failover never relaxes it: a target that fails it is an error here."""

    jurisdiction: Annotated[tuple[str, ...], about("Jurisdictions allowed; any when empty.")] = ()
    capabilities: Annotated[tuple[str, ...], about("Capabilities that every target must have.")] = ()


class ModelTarget(Struct, frozen=True, forbid_unknown_fields=True):
    """A provider's model, and its place in the pool."""

    target: Annotated[str, about("provider/upstream-model.")]
    tier: Annotated[int, about("1 is preferred; a higher one is used when those before it cannot.", low=1, high=64)] = 1
    weight: Annotated[float, about("Its share of the tier's traffic beside the others.", above=0, high=1000)] = 1.0


class Model(Struct, frozen=True, forbid_unknown_fields=True):
    """What clients ask for by name, and which targets may answer."""

    targets: Annotated[
        tuple[Annotated[ModelTarget, MAY_BE_SHORT], ...],
        about("Who may answer, 1 to 64; a string is provider/upstream-model in tier 1."),
    ]
    timeouts: Annotated[Timeouts, about("Fields that differ from defaults.timeouts.")] = Timeouts()
    retry: Annotated[Retry, about("Fields that differ from defaults.retry.")] = Retry()
    breaker: Annotated[Breaker, about("Fields that differ from defaults.breaker.")] = Breaker()
    queue: Annotated[Queue, about("Fields that differ from defaults.queue.")] = Queue()
    shares: Annotated[Shares, about("Fields that differ from defaults.shares.")] = Shares()
    rescue: Annotated[
        Literal["never"],
        about("What to do when a stream dies after content was sent: never means it ends with an honest error."),
    ] = "never"
    require: Annotated[Require, about("What every target must satisfy.")] = Require()


class Defaults(Struct, frozen=True, forbid_unknown_fields=True):
    """What every model and service starts from; each may override any field of it."""

    timeouts: Annotated[Timeouts, about("Deadlines.")] = Timeouts()
    retry: Annotated[Retry, about("Further attempts.")] = Retry()
    breaker: Annotated[Breaker, about("When to leave a target alone.")] = Breaker()
    queue: Annotated[Queue, about("Waiting for a place.")] = Queue()
    shares: Annotated[Shares, about("Who may have the last places.")] = Shares()


class Match(Struct, frozen=True, forbid_unknown_fields=True):
    """Which requests belong to a service; the longest path of the most exact host wins. At least one is needed."""

    host: Annotated[str, about("Exact host, without port; any when empty.")] = ""
    path: Annotated[str, about("Path prefix, beginning with a slash; any when empty.")] = ""
    grpc: Annotated[
        str, about("gRPC service (package.Service) or one method of it (package.Service/Method), instead of a path.")
    ] = ""


class ServiceTarget(Struct, frozen=True, forbid_unknown_fields=True):
    """An address of a service, and its place in the pool."""

    target: Annotated[str, about("host:port.")]
    tier: Annotated[int, about("1 is preferred; a higher one is used when those before it cannot.", low=1, high=64)] = 1
    weight: Annotated[float, about("Its share of the tier's traffic beside the others.", above=0, high=1000)] = 1.0


class Service(Struct, frozen=True, forbid_unknown_fields=True):
    """An internal service, routed by host and path, or by gRPC service and method.

    A call of a gRPC service has the deadline that its caller set (grpc-timeout); of ``defaults.timeouts`` only
    ``connect`` holds for it, the others are off unless they are written here.
    """

    match: Annotated[Match, about("Which requests it gets.")]
    targets: Annotated[
        tuple[Annotated[ServiceTarget, MAY_BE_SHORT], ...], about("Its addresses, 1 to 64; a string is host:port.")
    ]
    protocol: Annotated[
        Literal["auto", "http1", "h2c"],
        about("What its targets speak; h2c is HTTP/2, over TLS where tls is set. auto: h2c for gRPC, http1 otherwise."),
    ] = "auto"
    tls: Annotated[UpstreamTls | None, about("Call it over TLS, verified like this; plain when left out.")] = None
    timeouts: Annotated[Timeouts, about("Fields that differ from defaults.timeouts.")] = Timeouts()
    retry: Annotated[Retry, about("Fields that differ from defaults.retry.")] = Retry()
    breaker: Annotated[Breaker, about("Fields that differ from defaults.breaker.")] = Breaker()
    queue: Annotated[Queue, about("Fields that differ from defaults.queue.")] = Queue()
    shares: Annotated[Shares, about("Fields that differ from defaults.shares.")] = Shares()
    max_connections: Annotated[int, about("Most connections to each target, per worker.", low=1)] = 256
    max_inflight: Annotated[int, about("Most requests at once to each target, per node. 0: no cap.", low=0)] = 0
    concurrency: Annotated[Concurrency, about("How the limit of each target is learned.")] = Concurrency()


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of edge.yaml."""

    node: Annotated[Node, about("This machine.")] = field(default_factory=Node)
    listen: Annotated[tuple[Listen, ...], about("Addresses that clients connect to.")] = (Listen(),)
    admin: Annotated[Admin, about("Status, metrics and health, for operators.")] = Admin()
    providers: Annotated[dict[str, Provider], about("Who answers models, by name.")] = field(default_factory=dict)
    defaults: Annotated[Defaults, about("What every model and service starts from.")] = Defaults()
    models: Annotated[dict[str, Model], about("What clients ask for, by name.")] = field(default_factory=dict)
    services: Annotated[dict[str, Service], about("Internal services, by name.")] = field(default_factory=dict)
    keys: Annotated[
        tuple[Key, ...], about("Who may pass, and how much; when there is none, callers on loopback only.")
    ] = ()
    limits: Annotated[Limits, about("Bounds on what clients may ask of this node.")] = Limits()
    log: Annotated[Log, about("What each process says, and whether requests get a line.")] = Log()
    telemetry: Annotated[Telemetry, about("Which requests are recorded, and where their traces go.")] = field(
        default_factory=Telemetry
    )
    peers: Annotated[
        Peers | None, about("Other regions' edges; left out: this one answers alone and believes nobody to be another.")
    ] = None
    cluster: Annotated[Cluster, about("What this edge shares with those of other regions.")] = Cluster()


PLANNED: Final[dict[type[Struct], dict[str, str]]] = {
    Telemetry: {"content": "this version records no prompts and no answers"},
}
"""Keys of the design that this version does not have, by section, each with what is true instead."""

PLANNED_VALUES: Final[dict[tuple[type[Struct], str], dict[str, str]]] = {
    (Model, "rescue"): {"text": "this version never continues a stream that died"},
    (Provider, "dialect"): {
        "anthropic": "this version speaks OpenAI's dialect; the provider anthropic is asked through its own "
        "OpenAI-compatible layer",
        "gemini": "this version speaks OpenAI's dialect; the provider gemini is asked through its own "
        "OpenAI-compatible layer",
    },
}
"""Values of the design that this version does not have, by section and field."""
