"""What may an edge.yaml say of what is told about requests?  Its sections ``telemetry`` and ``log``."""

from typing import Annotated, Literal

from msgspec import Struct, field

from edge.config.fields import Duration, Secret, Share, about
from edge.config.units import NS_PER_S


class Telemetry(Struct, frozen=True, forbid_unknown_fields=True):
    """Which requests are recorded, and where their traces go. Prompts and answers are in none of it."""

    otlp: Annotated[
        str,
        about(
            "Collector (OpenTelemetry, Jaeger) that traces are sent to, such as http://localhost:4317. When empty "
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT and OTEL_EXPORTER_OTLP_ENDPOINT say it; without them nothing is sent, "
            "and edge trace shows the last requests all the same."
        ),
    ] = ""
    protocol: Annotated[
        Literal["auto", "grpc", "http"],
        about("How to speak to the collector. auto: OTEL_EXPORTER_OTLP_PROTOCOL, else http on port 4318, else grpc."),
    ] = "auto"
    headers: Annotated[
        dict[str, Secret], about("Fields sent with every export, such as a token; OTEL_EXPORTER_OTLP_HEADERS if none.")
    ] = field(default_factory=dict)
    metrics: Annotated[
        bool,
        about(
            "Send metrics to the same collector as well, under OpenTelemetry's names where it has some. A collector "
            "takes them; Jaeger by itself does not."
        ),
    ] = False
    metrics_every: Annotated[Duration, about("How often metrics are sent.", low=NS_PER_S, high=3600 * NS_PER_S)] = (
        15 * NS_PER_S
    )
    sample: Annotated[
        Share,
        about(
            "Share of requests that are recorded and traced, chosen by trace id. 0%: none but those below. When left "
            "out, OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG say it, if they are set."
        ),
    ] = 0.01
    slow: Annotated[
        Duration,
        about("A request whose first content comes later than this is kept though it was not sampled. 0s: none is."),
    ] = 10 * NS_PER_S
    errors_per_second: Annotated[
        int,
        about(
            "How many failed, slow and retried requests are kept though they were not sampled: of each, per second "
            "and worker. 0: none.",
            low=0,
            high=10_000,
        ),
    ] = 10
    propagation: Annotated[
        Literal["continue", "restart"],
        about(
            "What a caller's traceparent is worth. continue: its trace goes on through edge. restart: a new one begins "
            "and links to it."
        ),
    ] = "continue"
    forced_samples_per_second: Annotated[
        int,
        about(
            "How many requests are sampled because their caller's traceparent says so, per second and worker; after "
            "that it is not obeyed.",
            low=0,
            high=100_000,
        ),
    ] = 100


class Log(Struct, frozen=True, forbid_unknown_fields=True):
    """What each process says on stderr: one line an event. Credentials, prompts and answers are in none of it."""

    format: Annotated[
        Literal["auto", "console", "json"],
        about("auto: for people on a terminal, else one JSON object a line. --log-format and EDGE_LOG_FORMAT win."),
    ] = "auto"
    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        about("The least that is said. --log-level and EDGE_LOG_LEVEL win."),
    ] = "info"
    access: Annotated[
        Literal["off", "errors", "sampled"],
        about(
            "Which requests get a line, with their attempts and reasons. errors: those that failed, as many as "
            "telemetry.errors_per_second keeps. sampled: those that telemetry.sample chose, as well; 100% is all."
        ),
    ] = "errors"
    lines_per_second: Annotated[
        int,
        about(
            "Most lines of one kind, per process and second; what is left out is counted in a line of its own. 0: all.",
            low=0,
        ),
    ] = 100
