"""Is the compiled part here, and of this build?  The one door to it: everything else imports from this module.

One line below for each native module, and its names in ``__all__``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

try:
    from native.allowance import Allowance, Bound
    from native.balancer import Barred, Cell, Pool, Target
    from native.board import (
        HIST_BOUNDS_S,
        LAYOUT,
        AllowanceCounter,
        Board,
        Outcome,
        RouteCounter,
        TargetCounter,
        WorkerCounter,
    )
    from native.breaker import Admit, CircuitState, TripReason
    from native.callers import Caller, Callers
    from native.exchange import Lane
    from native.pool import ConnectionPool
    from native.router import Door, Route, Router
    from native.spanwriter import SpanWriter
    from native.timerwheel import CallbackTimer, Timer, Wheel
except ImportError as error:
    _remedy = "run `make build`"
    if "nghttp2" in str(error):
        _remedy = "install the library libnghttp2 (Debian, Ubuntu: libnghttp2-14)"
    raise ImportError(f"edge's compiled part cannot be loaded ({error}): {_remedy}") from error

if TYPE_CHECKING:
    from native.board import AllowanceView as AllowanceView  # noqa: PLC0414 - mypy's spelling of a re-export
    from native.board import RouteView as RouteView  # noqa: PLC0414 - mypy's spelling of a re-export
    from native.board import TargetView as TargetView  # noqa: PLC0414 - mypy's spelling of a re-export
    from native.board import WorkerView as WorkerView  # noqa: PLC0414 - mypy's spelling of a re-export

__all__ = [
    "HIST_BOUNDS_S",
    "Admit",
    "Allowance",
    "AllowanceCounter",
    "Barred",
    "Board",
    "Bound",
    "CallbackTimer",
    "Caller",
    "Callers",
    "Cell",
    "CircuitState",
    "ConnectionPool",
    "Door",
    "Lane",
    "Outcome",
    "Pool",
    "Route",
    "RouteCounter",
    "Router",
    "SpanWriter",
    "Target",
    "TargetCounter",
    "Timer",
    "TripReason",
    "Wheel",
    "WorkerCounter",
]

BOARD_LAYOUT: Final = 4  # what the Python above this door was written against; see native/board.h
if LAYOUT != BOARD_LAYOUT:
    raise ImportError(f"edge's compiled part has Board layout {LAYOUT}, not {BOARD_LAYOUT}: run `make build`")
