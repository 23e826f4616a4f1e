"""Can traces be sent where the configuration says?  The collector's address and what is sent along."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.config import addresses, check_network
from edge.config.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.config.problems import Path
    from edge.config.schema_telemetry import Telemetry


def telemetry(written: Telemetry) -> Iterator[Problem]:
    """Check the section ``telemetry``."""
    path: Path = ("telemetry",)
    if written.otlp:
        try:
            url = addresses.parse_base_url(written.otlp)
        except ValueError:
            # the URL is not shown: people put keys into URLs
            sentence = "not a collector's address; write http://host:4317, and a token as one of telemetry.headers"
            yield Problem((*path, "otlp"), sentence)
        else:
            why = addresses.forbidden(url.host)
            if why:
                yield Problem((*path, "otlp"), f"{url.host} is never called: {why}")
            elif written.headers and not url.tls and not addresses.is_private(url.host):
                sentence = "telemetry.headers would cross the internet unencrypted; write https"
                yield Problem((*path, "otlp"), sentence, severity="warning")
    yield from check_network.fixed_headers((*path, "headers"), written.headers)
