"""Checks of the section ``telemetry``: the collector's address, and the header fields sent to it."""

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
            # The message omits the URL, because people put keys into URLs.
            sentence = "not a collector's address; write http://host:4317, and a token in telemetry.headers"
            yield Problem((*path, "otlp"), sentence)
        else:
            why = addresses.forbidden(url.host)
            if why:
                yield Problem((*path, "otlp"), f"{url.host} must not be called: {why}")
            elif written.headers and not url.tls and not addresses.is_private(url.host):
                sentence = "telemetry.headers would be sent unencrypted across the internet; write https"
                yield Problem((*path, "otlp"), sentence, severity="warning")
    yield from check_network.fixed_headers((*path, "headers"), written.headers)
