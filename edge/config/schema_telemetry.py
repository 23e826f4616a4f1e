"""The sections ``telemetry`` and ``log`` of edge.yaml: what is recorded about requests, and what is logged."""

from typing import Annotated, Literal

from msgspec import Struct, field

from edge.config.fields import Duration, Secret, Share, about
from edge.config.units import NS_PER_S


class Telemetry(Struct, frozen=True, forbid_unknown_fields=True):
    """Which requests are recorded, and where their traces go. No record holds prompts or responses."""

    otlp: Annotated[
        str,
        about(
            "Collector (OpenTelemetry, Jaeger) that receives the traces, such as http://localhost:4317. "
            "Empty: OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or OTEL_EXPORTER_OTLP_ENDPOINT names it; without them "
            "nothing is sent, and edge trace still shows the last requests."
        ),
    ] = ""
    protocol: Annotated[
        Literal["auto", "grpc", "http"],
        about("Protocol to the collector. auto: OTEL_EXPORTER_OTLP_PROTOCOL, else http on port 4318, else grpc."),
    ] = "auto"
    headers: Annotated[
        dict[str, Secret], about("Fields sent with every export, such as a token. Default: OTEL_EXPORTER_OTLP_HEADERS.")
    ] = field(default_factory=dict)
    metrics: Annotated[
        bool,
        about(
            "Send metrics to the same collector as well, under OpenTelemetry's names where it has some. The "
            "Collector accepts them; Jaeger alone does not."
        ),
    ] = False
    metrics_every: Annotated[Duration, about("How often metrics are sent.", low=NS_PER_S, high=3600 * NS_PER_S)] = (
        15 * NS_PER_S
    )
    sample: Annotated[
        Share,
        about(
            "Share of requests that are recorded and traced, chosen by trace id. 0%: none but those below. "
            "Default: what OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG say, if they are set."
        ),
    ] = 0.01
    slow: Annotated[
        Duration,
        about("A request whose first content comes later than this is kept although it was not sampled. 0s: none is."),
    ] = 10 * NS_PER_S
    errors_per_second: Annotated[
        int,
        about(
            "How many failed, slow and retried requests are kept although they were not sampled: of each "
            "kind, per second and worker. 0: none.",
            low=0,
            high=10_000,
        ),
    ] = 10
    propagation: Annotated[
        Literal["continue", "restart"],
        about(
            "What to do with a caller's traceparent. continue: the caller's trace goes on through edge. "
            "restart: a new trace begins and links to it."
        ),
    ] = "continue"
    forced_samples_per_second: Annotated[
        int,
        about(
            "How many requests are sampled because their caller's traceparent says so, per second and worker. "
            "Above it, edge decides by itself.",
            low=0,
            high=100_000,
        ),
    ] = 100


class Log(Struct, frozen=True, forbid_unknown_fields=True):
    """What each process writes to stderr: one line per event. No line holds credentials, prompts or responses."""

    format: Annotated[
        Literal["auto", "console", "json"],
        about(
            "auto: readable lines on a terminal, else one JSON object per line. --log-format and EDGE_LOG_FORMAT win."
        ),
    ] = "auto"
    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        about("The lowest level that is logged. --log-level and EDGE_LOG_LEVEL win."),
    ] = "info"
    access: Annotated[
        Literal["off", "errors", "sampled", "all"],
        about(
            "Which requests get a line, with their attempts and reasons. errors: those that failed, as many "
            "as telemetry.errors_per_second keeps. sampled: also those that telemetry.sample chose. all: every "
            "request, on standard output, with the client's address; health checks, lists of models and preflights "
            "aside."
        ),
    ] = "errors"
    access_format: Annotated[
        Literal["json", "common"],
        about("The lines of access: all. json: one object each. common: Common Log Format, as web servers write it."),
    ] = "json"
    lines_per_second: Annotated[
        int,
        about(
            "Most lines of one kind, per process and second. What is left out is counted in a line of its "
            "own. 0: no limit.",
            low=0,
        ),
    ] = 100
