"""Deadlines, retries and the circuit breaker: sections of ``defaults`` that each model and service may override."""

from typing import Annotated, Final

from msgspec import Struct

from edge.config.fields import Delay, Duration, Share, about
from edge.config.units import NS_PER_MS, NS_PER_S

MINUTE: Final = 60 * NS_PER_S


class Timeouts(Struct, frozen=True, forbid_unknown_fields=True):
    """Deadlines. The first four bound one attempt; total bounds the whole exchange with all its attempts."""

    connect: Annotated[
        Duration,
        about("Time to get a connection, with name look-up and TLS. Then the next target is tried.", low=NS_PER_MS),
    ] = 2 * NS_PER_S
    first_byte: Annotated[
        Duration | None,
        about(
            "Time from sending the request to the head of the response, or to 100 (Continue) if the client "
            "waits for it. Then the next target is tried. Default: 2m; a whole response of a model, whose head comes "
            "when it is complete, has until total.",
            low=NS_PER_MS,
        ),
    ] = None
    first_token: Annotated[
        Duration,
        about(
            "Time from sending the request to the first content of a stream. Comments, pings and role-only "
            "events do not count. Then the next target is tried. Services ignore it.",
            low=NS_PER_MS,
        ),
    ] = 2 * MINUTE
    stream_idle: Annotated[
        Duration,
        about(
            "Longest silence within a response; then the stream ends with an error event. Also the longest "
            "time in which a service takes nothing of an upload; then the next target is tried, or the client "
            "gets 504.",
            low=NS_PER_MS,
        ),
    ] = MINUTE
    total: Annotated[
        Duration,
        about("Time for the whole exchange. When it runs out the caller gets an error at once.", low=NS_PER_MS),
    ] = 10 * MINUTE


FIRST_BYTE: Final = 2 * MINUTE
"""Default of ``timeouts.first_byte``, in ns; whole responses of models have none."""

CALL_TIMEOUTS: Final = Timeouts(first_byte=0, first_token=0, stream_idle=0, total=0)
"""Defaults for a gRPC service; 0 is off. Calls may stream for days, and callers set their own deadlines."""


class Retry(Struct, frozen=True, forbid_unknown_fields=True):
    """How many attempts one exchange may make, and which share of all traffic may be retries."""

    attempts: Annotated[
        int, about("Attempts of one exchange, the first included. 1 never retries.", low=1, high=10)
    ] = 3
    budget: Annotated[
        Share,
        about("Retries as a share of traffic, plus a small floor, so that retries do not make an outage worse."),
    ] = 0.2
    idempotent: Annotated[
        bool,
        about(
            "Of a service: a request may be carried out twice. Then a gRPC call is tried elsewhere after "
            "timeouts.first_byte too, which bounds each try, and a POST as a GET is."
        ),
    ] = False
    same_target: Annotated[
        int,
        about(
            "How often a request that fails within a second (no connection, a reset, a 5xx) is sent to the same target "
            "again, after 50 ms and more, before others are asked. It counts as an attempt and spends the budget.",
            low=0,
            high=5,
        ),
    ] = 0
    wait: Annotated[
        Duration,
        about(
            "How long a request waits for a target of a better tier that rests (rate-limited, or its allowance used "
            "up), if that comes back within this time, before a later tier is asked. 0s: not at all.",
            high=MINUTE,
        ),
    ] = 0


class Canary(Struct, frozen=True, forbid_unknown_fields=True):
    """When a new version of a target is taken out by itself: it does worse than the other targets of its tier.

    Both are compared over the last half minute, on each node by itself, beyond what chance and a few slow starts give.
    `edge target restore` gives it another chance.
    """

    failure_ratio: Annotated[Share, about("Share of its requests that may fail, beyond that of the others.")] = 0.05
    slower: Annotated[
        float,
        about("How many times as long as the others' the median of its first contents may take.", low=1.0, high=1000),
    ] = 1.5
    min_requests: Annotated[
        int, about("Requests of it, and of the others, within half a minute, before it is judged.", low=1)
    ] = 20


class Shadow(Struct, frozen=True, forbid_unknown_fields=True):
    """Copies of a model's requests for another target. Their answers are read, compared in metrics, and dropped."""

    target: Annotated[str, about("provider/upstream-model, or provider/* where the alias is a pattern.")]
    share: Annotated[Share, about("Share of the requests that is copied.")] = 1.0
    max_inflight: Annotated[
        int, about("Most copies in flight, per worker. Further ones are dropped and counted.", low=1, high=1000)
    ] = 64


class ServiceShadow(Struct, frozen=True, forbid_unknown_fields=True):
    """Copies of a service's requests for another address. Their answers are read, compared in metrics, and dropped."""

    target: Annotated[str, about("host:port. It speaks what the service's targets speak.")]
    share: Annotated[Share, about("Share of the requests that is copied.")] = 1.0
    max_inflight: Annotated[
        int, about("Most copies in flight, per worker. Further ones are dropped and counted.", low=1, high=1000)
    ] = 64
    methods: Annotated[
        tuple[str, ...],
        about(
            "Methods that are copied. A copy is carried out as the request is, so name only what may be carried out "
            "twice. gRPC calls are POST."
        ),
    ] = ("GET", "HEAD")


class Cache(Struct, frozen=True, forbid_unknown_fields=True):
    """Answers that are kept for repeated requests: same body (white space and order aside), path and caller."""

    ttl: Annotated[
        Duration,
        about(
            "How long an answer is given to further requests. Concurrent requests with the same question wait for the "
            "first.",
            low=NS_PER_MS,
        ),
    ] = 10 * MINUTE
    stale_if_error: Annotated[
        Duration,
        about("How much longer an answer is given when no target can answer; x-edge-cache says stale then. 0s: never."),
    ] = 0
    shared: Annotated[
        bool, about("true: keys share answers. false: an answer is given only to the key that asked first.")
    ] = False


class Hedge(Struct, frozen=True, forbid_unknown_fields=True):
    """When a second target of the same tier is asked beside one that shows no content yet. The first content wins."""

    after: Annotated[
        Delay,
        about(
            "How long the first target may take until then: the percentile of its own times to first content (p50 to "
            "p99, p99.9; not before it has 20 samples, p99 100), or a fixed time such as 800ms."
        ),
    ] = "p95"
    budget: Annotated[
        Share,
        about(
            "Hedges as a share of the requests to this model, over all workers of the node. Besides, 10 may be made at "
            "once after a quiet time.",
            above=0,
        ),
    ] = 0.05


class Breaker(Struct, frozen=True, forbid_unknown_fields=True):
    """When a target's circuit opens, for how long, and how the target comes back."""

    consecutive_failures: Annotated[
        int, about("Failures in a row that open the circuit. 0 switches this rule off.", low=0)
    ] = 5
    failure_ratio: Annotated[
        Share, about("Share of failures within the window that opens the circuit. 0% switches this rule off.")
    ] = 0.5
    window: Annotated[
        Duration, about("How far back the ratios look: whole seconds, 1s to 10s.", low=NS_PER_S, high=10 * NS_PER_S)
    ] = 10 * NS_PER_S
    min_requests: Annotated[
        int,
        about(
            "Responses within the window below which no ratio opens the circuit: a few requests prove nothing.", low=1
        ),
    ] = 10
    slow_ratio: Annotated[
        Share, about("Share of slow responses within the window that opens the circuit. 0% switches this rule off.")
    ] = 0.5
    slow_threshold: Annotated[
        Duration | None,
        about(
            "A response whose first token (services: first byte) comes later than this is slow. Default: four "
            "times what the target usually needs, between 2s and half of that deadline.",
            low=NS_PER_MS,
        ),
    ] = None
    open_duration: Annotated[
        Duration,
        about(
            "How long the circuit stays open the first time; each further time doubles it, with jitter. Where "
            "no target is usable, one request may try the target this often, and once a second if this is "
            "longer.",
            low=NS_PER_MS,
        ),
    ] = NS_PER_S
    open_duration_max: Annotated[
        Duration,
        about("The longest time that the circuit stays open before one request may try the target.", low=NS_PER_MS),
    ] = MINUTE
    slow_start: Annotated[
        Duration,
        about(
            "After recovery the target's share of traffic grows from a tenth to all of it over this time. 0s: at once."
        ),
    ] = 10 * NS_PER_S
