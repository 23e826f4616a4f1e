# Holds one target as a worker sees it.

from edge.terms import snapshot as terms
from native.http.connection_pool import ConnectionPool
from native.state.allowance import Allowance
from native.state.shared_state import SharedState

class Target:
    # One target as this worker sees it; all times are monotonic ns.
    plan: terms.Target
    pool: ConnectionPool | None
    allowance: Allowance | None
    input_nano: float  # US dollars * 1e9 per token
    output_nano: float
    def __init__(
        self,
        shared_state: SharedState,
        slot: int,
        id: str,  # noqa: A002
        max_inflight: int = 0,
        plan: terms.Target | None = None,
    ) -> None: ...
    @property
    def shared_state(self) -> SharedState: ...
    @property
    def slot(self) -> int: ...
    @property
    def id(self) -> str: ...
    @property
    def max_inflight(self) -> int: ...
    def record(self, latency_cell: int, now_ns: int, latency_ns: int, failed: bool = False) -> None: ...
    def latency_ms(self, latency_cell: int, now_ns: int) -> float: ...
    def enter(self, worker: int, priority: int = 1) -> None: ...
    def leave(self, worker: int, priority: int = 1) -> None: ...
    def set_rate_limited(self, until_ns: int) -> None: ...
