"""The only module of ``edge`` that imports compiled code: it re-exports the names, and checks that the build matches.

Each native module has one import line below, and its names stand in ``__all__``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

try:
    from native.balance.balancer import Barred, TargetPool
    from native.balance.breaker import Admit, CircuitState, TripReason
    from native.balance.declined import Declined
    from native.balance.latency import Cell
    from native.balance.price import Price
    from native.balance.target import Target
    from native.codec.span_writer import SpanWriter
    from native.http.connection_pool import ConnectionPool
    from native.io.clock import set_virtual
    from native.io.connect_answer import ConnectAnswer
    from native.io.connector import Connector
    from native.io.descriptors import highest_upstream, most_descriptors
    from native.io.listener import Listener
    from native.io.reactor import Reactor
    from native.io.timer_wheel import CallbackTimer, Timer, Wheel
    from native.io.tls import TlsContext
    from native.proxy.data_plane import DataPlane
    from native.proxy.hooks import AnswerFacts, Hooks, RefusedToken, Reply, VerifiedToken
    from native.proxy.router import Operation, Route, Router
    from native.proxy.virtual_wire import Call, VirtualConnection, VirtualWire
    from native.state.allowance import Allowance, Bound
    from native.state.answer_store import AnswerStore, CacheEntry
    from native.state.callers import Caller, Callers, KeyTable
    from native.state.counters import AllowanceCounter, Capability, Outcome, RouteCounter, TargetCounter, WorkerCounter
    from native.state.histogram import HIST_BOUNDS_S
    from native.state.issued_ids import IssuedIds, word
    from native.state.shared_state import LAYOUT, SharedState
    from native.state.tokens import Tokens
except ImportError as error:
    _remedy = "run `make build`"
    if "nghttp2" in str(error):
        _remedy = "install the library libnghttp2 (Debian, Ubuntu: libnghttp2-14)"
    elif "libssl" in str(error) or "libcrypto" in str(error):
        _remedy = "install OpenSSL 3 (Debian, Ubuntu: libssl3)"
    raise ImportError(f"cannot load edge's compiled modules ({error}): {_remedy}") from error

if TYPE_CHECKING:
    from native.state.views import AllowanceView as AllowanceView  # noqa: PLC0414 - mypy's spelling of a re-export
    from native.state.views import CapabilityView as CapabilityView  # noqa: PLC0414 - mypy's spelling of a re-export
    from native.state.views import RouteView as RouteView  # noqa: PLC0414 - mypy's spelling of a re-export
    from native.state.views import TargetView as TargetView  # noqa: PLC0414 - mypy's spelling of a re-export
    from native.state.views import UseView as UseView  # noqa: PLC0414
    from native.state.views import WorkerView as WorkerView  # noqa: PLC0414 - mypy's spelling of a re-export

__all__ = [
    "HIST_BOUNDS_S",
    "Admit",
    "Allowance",
    "AllowanceCounter",
    "AnswerFacts",
    "AnswerStore",
    "Barred",
    "Bound",
    "CacheEntry",
    "Call",
    "CallbackTimer",
    "Caller",
    "Callers",
    "Capability",
    "Cell",
    "CircuitState",
    "ConnectAnswer",
    "ConnectionPool",
    "Connector",
    "DataPlane",
    "Declined",
    "Hooks",
    "IssuedIds",
    "KeyTable",
    "Listener",
    "Operation",
    "Outcome",
    "Price",
    "Reactor",
    "RefusedToken",
    "Reply",
    "Route",
    "RouteCounter",
    "Router",
    "SharedState",
    "SpanWriter",
    "Target",
    "TargetCounter",
    "TargetPool",
    "Timer",
    "TlsContext",
    "Tokens",
    "TripReason",
    "VerifiedToken",
    "VirtualConnection",
    "VirtualWire",
    "Wheel",
    "WorkerCounter",
    "highest_upstream",
    "most_descriptors",
    "set_virtual",
    "word",
]

SHARED_STATE_LAYOUT: Final = 16  # the version that this module was written for; see native/state/shared_state.h
if LAYOUT != SHARED_STATE_LAYOUT:
    raise ImportError(
        f"edge's compiled modules have shared state layout {LAYOUT}, not {SHARED_STATE_LAYOUT}: run `make build`"
    )
