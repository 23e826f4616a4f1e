# Decides which exchanges are recorded, and holds their records.  Types of the compiled module; see record.pxd.

from enum import IntEnum

from edge.terms.snapshot import Tracing

class Kept(IntEnum):
    NOT_KEPT = 0
    SAMPLED = 1
    FAILED = 2
    SLOW = 3
    RETRIED = 4
    LOGGED = 5

class Recorder:
    # Decides what is recorded and holds what was, until somebody takes it. One per worker.

    def __init__(self, tracing: Tracing) -> None: ...
    def configure(self, tracing: Tracing) -> None: ...
    def decide(
        self, caller: bytes | None, trusted: bool, now_ns: int, chance: tuple[int, int, int]
    ) -> tuple[str, str, str, str, int, bool]: ...
    def judge(self, sampled: bool, now_ns: int, failed: bool, slow: bool, retried: bool) -> Kept: ...
    @property
    def slow_ns(self) -> int: ...
    @property
    def limit(self) -> int: ...
    @property
    def dropped(self) -> int: ...
