"""Which phase of a request a compiled module or library belongs to; profiles and instruction counts use it.

Costs are those of the code itself, without what it calls: a phase is where the work is done, whoever asked for it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

Phases = list[tuple[str, float]]

_NATIVE: Final = re.compile(r"(?:^|/)native/(\w+)/(\w+)\.[^/]*so$")

KERNEL: Final = "kernel"
LIBRARIES: Final = "C library"
INTERPRETER: Final = "interpreter"
_IO, _TLS, _WIRE, _H2 = "sockets, reactor, timers", "TLS", "HTTP/1.1 heads and chunks", "HTTP/2 frames"
_BODY, _REQUEST, _ATTEMPT = "bodies and events", "route, key and limits", "target, breaker and attempt"
_RESPONSE, _ACCOUNT, _LOOP = "exchange and response", "metrics, records, traces", "event loop"

PHASES: Final = (
    KERNEL,
    _IO,
    _TLS,
    _WIRE,
    _H2,
    _BODY,
    _REQUEST,
    _ATTEMPT,
    _RESPONSE,
    _ACCOUNT,
    LIBRARIES,
    _LOOP,
    INTERPRETER,
)

# By module, or by package where all of its modules are in one phase.
_OF_NATIVE: Final = {
    "io": _IO,
    "io/tls": _TLS,
    "io/tls_tickets": _TLS,
    "codec": _WIRE,
    "codec/event": _BODY,
    "codec/event_kind": _BODY,
    "codec/grpc": _BODY,
    "codec/json_text": _BODY,
    "codec/json_walk": _BODY,
    "codec/request_peek": _BODY,
    "codec/response_peek": _BODY,
    "codec/repeated_event": _BODY,
    "codec/sse": _BODY,
    "codec/usage": _BODY,
    "codec/otlp_values": _ACCOUNT,
    "codec/span_writer": _ACCOUNT,
    "codec/trace_context": _ACCOUNT,
    "http": _WIRE,
    "http/connection_pool": _ATTEMPT,
    "http/http2": _H2,
    "state": _ACCOUNT,
    "state/allowance": _REQUEST,
    "state/callers": _REQUEST,
    "state/rate_limit_fields": _REQUEST,
    "state/token_bucket": _REQUEST,
    "state/hedge_budget": _ATTEMPT,
    "state/retry_budget": _ATTEMPT,
    "balance": _ATTEMPT,
    "proxy": _RESPONSE,
    "proxy/accounting": _ACCOUNT,
    "proxy/admission": _REQUEST,
    "proxy/attempt": _ATTEMPT,
    "proxy/charge": _REQUEST,
    "proxy/detached": _ATTEMPT,
    "proxy/exchange_record": _ACCOUNT,
    "proxy/hedge": _ATTEMPT,
    "proxy/live_attempts": _ATTEMPT,
    "proxy/record": _ACCOUNT,
    "proxy/request": _REQUEST,
    "proxy/retry": _ATTEMPT,
    "proxy/router": _REQUEST,
    "proxy/selection": _ATTEMPT,
    "proxy/upload_watch": _ATTEMPT,
}
_OF_LIBRARIES: Final = (
    (re.compile(r"kernel|^\[k|vmlinux|\.ko"), KERNEL),
    (re.compile(r"/?(libssl|libcrypto|_ssl\.)"), _TLS),
    (re.compile(r"/?libnghttp2"), _H2),
    (re.compile(r"uvloop"), _LOOP),
    (re.compile(r"/?(libc|libpthread|ld-linux[^/]*|libm|\[vdso\]|vgpreload[^/]*)[.-]|\[vdso\]"), LIBRARIES),
)


def phase_of(place: str) -> str:
    """Return the phase of an object file; ``http/http2_server`` is found by its beginning ``http/http2``."""
    found = _NATIVE.search(place)
    if found is None:
        return next((phase for pattern, phase in _OF_LIBRARIES if pattern.search(place)), INTERPRETER)
    module = f"{found[1]}/{found[2]}"
    best = max((name for name in _OF_NATIVE if module.startswith(name)), key=len, default="")
    return _OF_NATIVE.get(best, INTERPRETER)


def phases_of(costs: Mapping[str, float]) -> Phases:
    """Return the cost of each phase, in the order of PHASES, from costs by object file."""
    found = dict.fromkeys(PHASES, 0.0)
    for place, cost in costs.items():
        found[phase_of(place)] += cost
    return list(found.items())
