"""Schema of edge.yaml: every section and field, with its unit, default and consequences.

The defaults are meant to suit most users. ``edge config schema`` and ``docs/configuration.md`` show the same sentences.
Only what this version supports is accepted; ``edge.config.planned`` explains keys and values that are planned.
"""

import os
import platform
from typing import Annotated, Final, Literal

from msgspec import Struct, field

from edge.config.crowding import Concurrency, Queue, Shares
from edge.config.fields import MAY_BE_SHORT, Duration, FilePath, Secret, about
from edge.config.schema_auth import Auth
from edge.config.schema_cluster import Cluster
from edge.config.schema_incidents import Alert, History, StatusPages
from edge.config.schema_keys import Key, Price, ProviderLimits
from edge.config.schema_limits import Limits
from edge.config.schema_listen import Listen
from edge.config.schema_peers import Peers
from edge.config.schema_policy import Breaker, Cache, Hedge, Retry, ServiceShadow, Shadow, Timeouts
from edge.config.schema_provider_auth import ProviderAuth
from edge.config.schema_targets import ModelTarget, ServiceTarget
from edge.config.schema_telemetry import Log, Telemetry
from edge.config.units import NS_PER_S
from edge.terms.places import Dialect

MOST_WORKERS: Final = 64  # EDGE_MAX_WORKERS in native/state/shared_state.h: in-flight counts have one column per worker
MOST_MEMBERS: Final = 64  # native/balance/balancer.pxd: a pool's tried targets are bits of one word


def usable_cpus() -> int:
    """Count the CPUs this process may run on, at most one worker for each of the shared state's columns."""
    return min(len(os.sched_getaffinity(0)), MOST_WORKERS)


class Node(Struct, frozen=True, forbid_unknown_fields=True):
    """This machine and its place among the regions."""

    region: Annotated[str, about("The region that this node serves; shown in responses, status and metrics.")] = "local"
    name: Annotated[str, about("This node's name in status and metrics. Default: the host name.")] = field(
        default_factory=platform.node
    )
    zone: Annotated[
        str,
        about(
            "The zone that this node runs in, as discovery names zones. Discovered addresses of this zone are "
            "preferred while they have room. Empty: zones do not count."
        ),
    ] = ""
    workers: Annotated[
        int,
        about(
            "Processes that carry traffic, each on one CPU. Default: one per usable CPU. 0 runs everything in "
            "one process, for tests and debugging.",
            low=0,
            high=MOST_WORKERS,
        ),
    ] = field(default_factory=usable_cpus)
    drain_grace: Annotated[
        Duration,
        about(
            "How long a draining node still accepts requests while /ready already fails, so that load "
            "balancers notice first. Set it longer than their check takes to fail; 0s if there are none."
        ),
    ] = 5 * NS_PER_S
    state_dir: Annotated[
        FilePath | None,
        about(
            "Folder for the last good configuration, with credentials (mode 0600). A node whose file is "
            "missing or broken starts from it. Default: $XDG_STATE_HOME/edge, else /var/lib/edge if it is "
            'writable. "" keeps nothing.'
        ),
    ] = None


class Admin(Struct, frozen=True, forbid_unknown_fields=True):
    """The admin listener, for operators: status, metrics, health."""

    address: Annotated[str, about("host:port of the admin listener.")] = "127.0.0.1:9901"
    token: Annotated[
        Secret, about("Bearer token that every admin request must carry. Required off loopback; empty: no check.")
    ] = Secret()


class UpstreamTls(Struct, frozen=True, forbid_unknown_fields=True):
    """How edge verifies an upstream, and the certificate that it shows to it."""

    ca: Annotated[FilePath | None, about("PEM file of authorities to trust. Default: the system's.")] = None
    cert: Annotated[FilePath | None, about("PEM file of edge's client certificate; needs key too.")] = None
    key: Annotated[FilePath | None, about("PEM file of the client certificate's private key.")] = None
    server_name: Annotated[str, about("Name to request and to verify. Empty: the target's host.")] = ""
    verify: Annotated[
        bool, about("false accepts any certificate: a machine in between can read your keys. For tests only.")
    ] = True


class Provider(Struct, frozen=True, forbid_unknown_fields=True):
    """A company or machine that answers models. Known names (openai, anthropic, deepseek, gemini) need only a key."""

    kind: Annotated[
        str,
        about(
            "The known provider that this is, under a name of its own: openai, groq, vllm and so on. What is known "
            "about it is used: URL, credential field, jurisdiction, capabilities, prices, meaning of errors. Empty: "
            "its name."
        ),
    ] = ""
    dialect: Annotated[
        Dialect | None,
        about(
            "The JSON dialect of its API; clients of other dialects are translated. Known names have one; the others "
            "speak openai."
        ),
    ] = None
    base_url: Annotated[
        str,
        about("URL at which its API begins, such as https://api.openai.com/v1. Known names have one; others need it."),
    ] = ""
    region: Annotated[
        str,
        about("Of kind bedrock: the region of AWS, such as eu-west-1, which is a part of its URL and has its law."),
    ] = ""
    discover: Annotated[
        str,
        about(
            "Where its addresses come from: dns://NAME:PORT, dns+srv://NAME, k8s://NAMESPACE/SERVICE:PORT, "
            "file:///PATH or etcd://PREFIX. They replace host and port of base_url, and change without a reload."
        ),
    ] = ""
    api_key: Annotated[
        Secret,
        about(
            "Sent as Authorization: Bearer; in the dialects anthropic and gemini as x-api-key and x-goog-api-key, to "
            "azure-openai as api-key. "
            "Empty: no such header field."
        ),
    ] = Secret()
    auth: Annotated[
        ProviderAuth | None, about("How edge authenticates, if not by api_key as its dialect sends it.")
    ] = None
    api_version: Annotated[
        str,
        about(
            "Of kind azure-openai: the api-version of its paths, such as 2024-10-21, with the model as the deployment. "
            "Empty: its API /openai/v1, which has no version."
        ),
    ] = ""
    headers: Annotated[
        dict[str, Secret], about("Fixed header fields that edge adds to each request, such as openai-organization.")
    ] = field(default_factory=dict)
    jurisdiction: Annotated[
        str, about("The law that it answers to, such as eu or us; compared with require.jurisdiction.")
    ] = ""
    capabilities: Annotated[
        tuple[str, ...] | None,
        about(
            "What it offers: chat, completions, embeddings, responses, moderation, rerank, image (it makes pictures), "
            "speech, transcription, translation; files, batches, fine_tuning, vector_stores, conversations, which it "
            "keeps; and in chats images (it sees pictures), json, tools. Compared with require; what stands from "
            "moderation to conversations is asked only of targets where this names it or is absent. "
            "prefill: it continues a last message of the assistant, so that it can go on with a stream that broke off "
            "at another target."
        ),
    ] = None
    probe: Annotated[
        str | None,
        about(
            "Path under base_url that answers 2xx at no cost. Edge requests it while the target's circuit is "
            "open. Empty: no probes."
        ),
    ] = None
    status_page: Annotated[
        str | None,
        about(
            "URL of its status page (Statuspage, incident.io, Flashduty, Google, RSS or Atom); a fragment names the "
            "component to look at. Known names have one. Empty: none."
        ),
    ] = None
    tls: Annotated[UpstreamTls, about("How to verify it if base_url is https.")] = UpstreamTls()
    proxy: Annotated[
        str,
        about(
            "Proxy that it is reached through, by CONNECT: http://host:port, or env, as HTTPS_PROXY and NO_PROXY say. "
            "Empty: none."
        ),
    ] = ""
    proxy_credentials: Annotated[Secret, about("user:password for that proxy, if env does not have them.")] = Secret()
    protocol: Annotated[
        Literal["auto", "http1", "h2c"],
        about(
            "What it speaks. auto: over https HTTP/2 or HTTP/1.1, as it offers (ALPN); otherwise HTTP/1.1. h2c is "
            "HTTP/2, over TLS if base_url is https."
        ),
    ] = "auto"
    max_connections: Annotated[
        int,
        about(
            "Most connections to each of its targets, per worker. Further requests wait for one. 0: no limit.", low=0
        ),
    ] = 0
    max_inflight: Annotated[
        int,
        about(
            "Most concurrent requests to each of its targets, per node. Further requests go elsewhere. 0: no limit.",
            low=0,
        ),
    ] = 0
    limits: Annotated[
        ProviderLimits, about("What the provider grants this credential, so that edge does not ask in vain.")
    ] = ProviderLimits()
    prices: Annotated[
        dict[str, Price],
        about(
            "What its models cost, by upstream model, where that differs from what edge knows; `*` stands for "
            "models that are not named, and a price of 0 is free. A key with a budget may not use a model without a "
            "price."
        ),
    ] = field(default_factory=dict)
    concurrency: Annotated[Concurrency, about("How edge learns the limit of each of its targets.")] = Concurrency()


class Require(Struct, frozen=True, forbid_unknown_fields=True):
    """What every target must satisfy. Failover never relaxes it: a target that fails it is an error in the file."""

    jurisdiction: Annotated[tuple[str, ...], about("Jurisdictions allowed. Empty: any.")] = ()
    capabilities: Annotated[tuple[str, ...], about("Capabilities that every target must have.")] = ()


class Model(Struct, frozen=True, forbid_unknown_fields=True):
    """A name that clients send as model, and the targets that may answer it."""

    targets: Annotated[
        tuple[Annotated[ModelTarget, MAY_BE_SHORT], ...],
        about(
            "The targets that may answer, 1 to 64; a string is provider/upstream-model in tier 1. Where the alias is a "
            "pattern such as gpt-*, provider/* asks the provider for the model that the client named."
        ),
    ]
    timeouts: Annotated[Timeouts, about("Fields that differ from defaults.timeouts.")] = Timeouts()
    retry: Annotated[Retry, about("Fields that differ from defaults.retry.")] = Retry()
    breaker: Annotated[Breaker, about("Fields that differ from defaults.breaker.")] = Breaker()
    queue: Annotated[Queue, about("Fields that differ from defaults.queue.")] = Queue()
    shares: Annotated[Shares, about("Fields that differ from defaults.shares.")] = Shares()
    rescue: Annotated[
        Literal["never", "same_model", "text"],
        about(
            "What to do when a stream of plain text dies after content was sent. same_model: another target with the "
            "same upstream model goes on with it, if it has the capability prefill. text: any other target; without "
            "prefill it is asked for the rest in a new turn. never: it ends with an error event, as it does where "
            "nobody can go on."
        ),
    ] = "same_model"
    affinity: Annotated[
        Literal["none", "auto", "prefix"],
        about(
            "What stays at a target for the sake of its prompt cache. auto: a conversation, while its target is well "
            "and has room. prefix: for self-hosted pools (vllm, sglang, llama.cpp, ollama or discover): each prompt "
            "goes where the longest part of it was computed. none: nothing."
        ),
    ] = "auto"
    prefer: Annotated[
        Literal["order", "cost", "latency"],
        about(
            "Which usable target of a tier is asked first. order: by weights, latency and load. cost: the "
            "cheapest, by prices and by the share of prompts that it has answered from its cache. latency: the "
            "quickest, by the time to its first token. Both while it is well and below four fifths of its limit."
        ),
    ] = "order"
    hedge: Annotated[
        Hedge | None,
        about(
            "Ask a second target of the same tier when the first shows no content for longer than is usual, and give "
            "the client what comes first. Absent: never. {}: with the defaults below."
        ),
    ] = None
    cache: Annotated[
        Cache | None, about("Keep answers and give them to repeated requests. Absent: every request is asked.")
    ] = None
    shadow: Annotated[
        Shadow | None,
        about("Copy a share of the requests to another target, at no cost for their callers. Absent: none is copied."),
    ] = None
    strict: Annotated[
        bool,
        about(
            "Do not ask a target whose dialect cannot carry a hint of the request, such as seed or logprobs. "
            "False: the hint is left out, and named in x-edge-dropped."
        ),
    ] = False
    require: Annotated[Require, about("What every target must satisfy.")] = Require()


class Defaults(Struct, frozen=True, forbid_unknown_fields=True):
    """Settings that every model and service starts from. Each may override any field."""

    timeouts: Annotated[Timeouts, about("Deadlines.")] = Timeouts()
    retry: Annotated[Retry, about("Further attempts.")] = Retry()
    breaker: Annotated[Breaker, about("When to stop sending requests to a target.")] = Breaker()
    queue: Annotated[Queue, about("Waiting for a free place.")] = Queue()
    shares: Annotated[Shares, about("Which priorities may use the last places.")] = Shares()


class Match(Struct, frozen=True, forbid_unknown_fields=True):
    """Which requests belong to a service. The longest path of the most exact host wins. At least one is needed."""

    host: Annotated[str, about("Exact host, without port. Empty: any.")] = ""
    path: Annotated[str, about("Path prefix that begins with a slash. Empty: any.")] = ""
    grpc: Annotated[
        str, about("gRPC service (package.Service) or one of its methods (package.Service/Method), instead of a path.")
    ] = ""


class Service(Struct, frozen=True, forbid_unknown_fields=True):
    """An internal service, routed by host and path, or by gRPC service and method.

    A call of a gRPC service has the deadline that its caller set (grpc-timeout). Of ``defaults.timeouts`` only
    ``connect`` applies to it; the others are off unless they are written here.
    """

    match: Annotated[Match, about("Which requests the service gets.")]
    targets: Annotated[
        tuple[Annotated[ServiceTarget, MAY_BE_SHORT], ...],
        about("Addresses of the service, 1 to 64; a string is host:port. Needed unless discover is written."),
    ] = ()
    discover: Annotated[
        str,
        about(
            "Where further addresses come from: dns://NAME:PORT, dns+srv://NAME, k8s://NAMESPACE/SERVICE:PORT, "
            "file:///PATH or etcd://PREFIX. They change without a reload. A node uses up to 64 of them."
        ),
    ] = ""
    protocol: Annotated[
        Literal["auto", "http1", "h2c"],
        about("What its targets speak. h2c is HTTP/2, over TLS if tls is set. auto: h2c for gRPC, http1 otherwise."),
    ] = "auto"
    tls: Annotated[
        UpstreamTls | None, about("Call the service over TLS, and verify it with these settings. Default: plain HTTP.")
    ] = None
    shadow: Annotated[
        ServiceShadow | None,
        about("Copy a share of the requests to another address. Absent: none is copied."),
    ] = None
    timeouts: Annotated[Timeouts, about("Fields that differ from defaults.timeouts.")] = Timeouts()
    retry: Annotated[Retry, about("Fields that differ from defaults.retry.")] = Retry()
    breaker: Annotated[Breaker, about("Fields that differ from defaults.breaker.")] = Breaker()
    queue: Annotated[Queue, about("Fields that differ from defaults.queue.")] = Queue()
    shares: Annotated[Shares, about("Fields that differ from defaults.shares.")] = Shares()
    max_connections: Annotated[
        int, about("Most connections to each target, per worker. Further requests wait for one. 0: no limit.", low=0)
    ] = 0
    max_inflight: Annotated[int, about("Most concurrent requests to each target, per node. 0: no limit.", low=0)] = 0
    concurrency: Annotated[Concurrency, about("How edge learns the limit of each target.")] = Concurrency()


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of edge.yaml."""

    node: Annotated[Node, about("This machine.")] = field(default_factory=Node)
    listen: Annotated[tuple[Listen, ...], about("Addresses that clients connect to.")] = (Listen(),)
    admin: Annotated[Admin, about("Status, metrics and health, for operators.")] = Admin()
    providers: Annotated[dict[str, Provider], about("The providers that answer models, by name.")] = field(
        default_factory=dict
    )
    defaults: Annotated[Defaults, about("Settings that every model and service starts from.")] = Defaults()
    models: Annotated[dict[str, Model], about("The models that clients ask for, by name.")] = field(
        default_factory=dict
    )
    services: Annotated[dict[str, Service], about("Internal services, by name.")] = field(default_factory=dict)
    keys: Annotated[tuple[Key, ...], about("Callers and what each may use; without any, only loopback is served.")] = ()
    auth: Annotated[Auth, about("Who may call with a token of an identity provider instead of a key.")] = Auth()
    limits: Annotated[Limits, about("Bounds on what clients may send to this node.")] = Limits()
    log: Annotated[Log, about("What each process logs, and which requests get a line.")] = Log()
    telemetry: Annotated[Telemetry, about("Which requests are recorded, and where their traces go.")] = field(
        default_factory=Telemetry
    )
    peers: Annotated[
        Peers | None,
        about("Other regions' edges. Default: this one answers alone and trusts no request to come from an edge."),
    ] = None
    cluster: Annotated[Cluster, about("What nodes of all regions share.")] = Cluster()
    history: Annotated[History, about("What this node remembers of traffic, incidents and operators.")] = History()
    alerts: Annotated[tuple[Alert, ...], about("Webhooks that are told of incidents.")] = ()
    status_pages: Annotated[StatusPages, about("Providers' status pages, as this node reads them.")] = StatusPages()
    public_status: Annotated[
        bool,
        about(
            "Answer GET /edge/status and /edge/status.html on client listeners, without a key: which aliases are "
            "degraded or down, since when, until when. It shows the names of all aliases, and nothing else."
        ),
    ] = False
