"""Reads a request head with lists and patterns: the reference model of native/codec/head_reader."""

from __future__ import annotations

import re

HOP = {
    b"connection",
    b"keep-alive",
    b"proxy-connection",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"te",
    b"trailer",
    b"http2-settings",
    b"upgrade",
    b"transfer-encoding",
    b"content-length",
    b"host",
    b"expect",
}
NEVER_NOMINATED = {
    b"authorization",
    b"x-api-key",
    b"x-goog-api-key",
    b"cookie",
    b"set-cookie",
    b"content-type",
    b"content-encoding",
    b"content-length",
    b"host",
    b"cache-control",
    b"traceparent",
    b"tracestate",
    b"x-request-id",
    b"x-forwarded-for",
    b"x-forwarded-proto",
    b"x-forwarded-host",
    b"forwarded",
    b"via",
    b"date",
    b"retry-after",
}
HOST = re.compile(rb"(?:\[[0-9A-Za-z.:_~-]*\]|[0-9A-Za-z._~-]+)(?::[0-9]*)?")
CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def read_request(
    method: bytes, version: int, fields: list[tuple[bytes, bytes]]
) -> tuple[int, list[tuple[bytes, bytes]]] | None:
    """Return (length, end-to-end fields) of a request with an origin-form target; None = refused."""
    named: list[tuple[bytes, bytes]] = [(name.lower(), value.strip(b" \t")) for name, value in fields]

    def every(wanted: bytes) -> list[bytes]:
        return [value for name, value in named if name == wanted]

    if any(CONTROL.search(value) or not name for name, value in named) or version not in (10, 11):
        return None
    length = -1
    if lengths := every(b"content-length"):
        if len(lengths) > 1 or not re.fullmatch(rb"0|[1-9][0-9]{0,17}", lengths[0]):
            return None
        length = int(lengths[0])
    if codings := every(b"transfer-encoding"):
        if version == 10 or lengths or len(codings) > 1 or codings[0].lower() != b"chunked":
            return None
        length = -2
    hosts = every(b"host")
    if len(hosts) > 1 or (version == 11 and not hosts) or (hosts and not HOST.fullmatch(hosts[0])):
        return None
    if any(value.lower() != b"100-continue" for value in every(b"expect")) or method == b"CONNECT":
        return None
    listed = {token.strip(b" \t").lower() for value in every(b"connection") for token in value.split(b",")}
    gone = HOP | (listed - NEVER_NOMINATED)
    return length, [(name, value) for name, value in named if name not in gone]
