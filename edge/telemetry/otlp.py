"""The destination of telemetry: the configuration, and OpenTelemetry's environment variables where it sets nothing.

Source: OpenTelemetry specification, protocol/exporter.md and configuration/sdk-environment-variables.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import unquote, urlsplit

from msgspec import Struct, field

from edge.config import addresses
from edge.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge.config.schema_telemetry import Telemetry

Signal = Literal["traces", "metrics"]
GRPC_PORT: Final = 4317
HTTP_PORT: Final = 4318


class Collector(Struct, frozen=True):
    """A collector. ``headers`` may hold secrets; if they are empty, the exporter uses OTEL_EXPORTER_OTLP_HEADERS."""

    url: str  # with protocol http, the complete URL for the signal
    protocol: Literal["grpc", "http"]
    headers: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Collector({self.url!r}, {self.protocol})"


def collector(written: Telemetry, environ: Mapping[str, str], signal: Signal = "traces") -> Collector | None:
    """Return the collector for a signal, or None if none is configured or the signal is switched off.

    Args:
        written: the section ``telemetry``.
        environ: OTEL_* variables. The configuration takes precedence, except over OTEL_SDK_DISABLED and
            OTEL_*_EXPORTER=none. An invalid address in a variable is reported as a warning in the log.
        signal: traces or metrics.
    """
    own, common = f"OTEL_EXPORTER_OTLP_{signal.upper()}_", "OTEL_EXPORTER_OTLP_"
    disabled = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if disabled or environ.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip().lower() == "none":
        return None
    whole = "" if written.otlp else environ.get(f"{own}ENDPOINT", "").strip()
    url = written.otlp or whole or environ.get(f"{common}ENDPOINT", "").strip()
    if not url:
        return None
    if "://" not in url:
        url = f"http://{url}"
    why = _unusable(url)
    if why:  # only from a variable, as the configuration was checked; it must not keep a node from serving
        logs.say(logs.WARNING, f"{signal} are not exported: OTEL_EXPORTER_OTLP_*ENDPOINT {why}")
        return None
    asked = environ.get(f"{own}PROTOCOL") or environ.get(f"{common}PROTOCOL") or ""
    protocol = _protocol(written.protocol, asked.strip().lower(), url)
    if protocol == "http" and not whole and not url.rstrip("/").endswith(f"/v1/{signal}"):
        url = f"{url.rstrip('/')}/v1/{signal}"
    return Collector(url, protocol, {name.lower(): str(value) for name, value in written.headers.items()})


def _unusable(url: str) -> str:
    """Return why a URL cannot be used, or ""; the text omits the URL, which may contain a password."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not url.isprintable() or " " in url:
        return "is not the address of a collector; write http://host:4317"
    why = addresses.forbidden(parts.hostname or "")
    return f"names a host that must not be called: {why}" if why else ""


def secrets(environ: Mapping[str, str]) -> list[str]:
    """Return the secrets in OTEL_* variables: header values, and user and password of URLs.

    The SDK reads these variables itself, and it logs what it cannot parse verbatim.
    """
    found = []
    for signal in ("", "TRACES_", "METRICS_"):
        for pair in environ.get(f"OTEL_EXPORTER_OTLP_{signal}HEADERS", "").split(","):
            value = pair.partition("=")[2].strip()
            found += [pair.strip(), value, unquote(value)]
        before, at, _ = environ.get(f"OTEL_EXPORTER_OTLP_{signal}ENDPOINT", "").rpartition("@")
        if at:
            found += [before.rpartition("//")[2], before.rpartition("//")[2].partition(":")[2]]
    return found


def _protocol(written: str, asked: str, url: str) -> Literal["grpc", "http"]:
    if written != "auto":
        return "grpc" if written == "grpc" else "http"
    if asked:
        return "grpc" if asked == "grpc" else "http"
    parts = urlsplit(url)
    return (
        "http" if parts.port == HTTP_PORT or parts.path.rstrip("/").endswith(("/v1/traces", "/v1/metrics")) else "grpc"
    )
