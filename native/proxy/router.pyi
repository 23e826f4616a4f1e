# Finds the route of a request.  Types of the compiled module; the contract is in router.pxd.

from enum import IntEnum

from edge.terms import snapshot as terms
from native.balance.balancer import TargetPool
from native.balance.queue import Queue
from native.balance.target import Target
from native.state.callers import Callers, KeyTable
from native.state.shared_state import SharedState

class Operation(IntEnum):
    OPERATION_UNKNOWN = 0
    OPERATION_CHAT = 1
    OPERATION_COMPLETIONS = 2
    OPERATION_EMBEDDINGS = 3
    OPERATION_RESPONSES = 4
    OPERATION_MODELS = 5
    OPERATION_HEALTH = 6
    OPERATION_SERVICE = 7
    OPERATION_MESSAGES = 8
    OPERATION_COUNT_TOKENS = 9
    OPERATION_GENERATE = 10
    OPERATION_STREAM = 11
    OPERATION_PREFLIGHT = 12
    OPERATION_MODERATION = 13
    OPERATION_RERANK = 14
    OPERATION_IMAGE = 15
    OPERATION_SPEECH = 16
    OPERATION_TRANSCRIPTION = 17
    OPERATION_TRANSLATION = 18
    OPERATION_IMAGE_EDIT = 19
    OPERATION_IMAGE_VARIATION = 20
    OPERATION_COMPACT = 21
    OPERATION_INPUT_TOKENS = 22
    OPERATION_RESPONSE = 23
    OPERATION_CONVERSATIONS = 24
    OPERATION_FILES = 25
    OPERATION_BATCHES = 26
    OPERATION_FINE_TUNING = 27
    OPERATION_VECTOR_STORES = 28
    OPERATION_EMBED = 29
    OPERATION_CONTENT_TOKENS = 30

class Rescue(IntEnum):
    RESCUE_NEVER = 0
    RESCUE_SAME_MODEL = 1
    RESCUE_TEXT = 2

class KeptBy(IntEnum):
    AFFINITY_NONE = 0
    AFFINITY_AUTO = 1
    AFFINITY_PREFIX = 2

class Route:
    # A route as this worker sees it; durations are ns.
    def __init__(self, shared_state: SharedState, plan: terms.Route, pool: TargetPool) -> None: ...
    @property
    def shared_state(self) -> SharedState: ...
    @property
    def name(self) -> str: ...
    @property
    def slot(self) -> int: ...
    @property
    def is_service(self) -> bool: ...
    @property
    def is_pattern(self) -> bool: ...
    @property
    def pool(self) -> TargetPool: ...
    @property
    def queue(self) -> Queue: ...
    @property
    def timeouts(self) -> dict[str, int]: ...
    @property
    def attempts(self) -> int: ...
    @property
    def idempotent(self) -> bool: ...
    @property
    def budget(self) -> float: ...
    @property
    def same_target(self) -> int: ...
    @property
    def wait_ns(self) -> int: ...
    @property
    def hedge_share(self) -> float: ...
    @property
    def hedge_percentile(self) -> float: ...
    @property
    def hedge_after_ns(self) -> int: ...
    @property
    def rescue(self) -> int: ...
    @property
    def shadow(self) -> Route | None: ...
    @property
    def shadow_below(self) -> int: ...
    @property
    def shadow_most(self) -> int: ...
    @property
    def cache_ttl_ns(self) -> int: ...
    @property
    def cache_stale_ns(self) -> int: ...
    @property
    def cache_shared(self) -> bool: ...
    @property
    def affinity(self) -> int: ...
    @property
    def prefer(self) -> int: ...
    @property
    def strict(self) -> bool: ...

class Router:
    # A compiled ``edge.terms.snapshot.Snapshot``; immutable.
    # keys: the cluster's; they count beside those of the Snapshot.
    def __init__(
        self, snapshot: terms.Snapshot, shared_state: SharedState, workers: int, keys: KeyTable | None = None
    ) -> None: ...
    @property
    def snapshot(self) -> terms.Snapshot: ...
    @property
    def targets(self) -> list[Target]: ...
    @property
    def routes(self) -> list[Route]: ...
    @property
    def callers(self) -> Callers | None: ...
    @property
    def metered(self) -> bool: ...
    @property
    def stored(self) -> Route | None: ...
    def find_operation(self, path: bytes) -> int: ...
    def find_model(self, name: bytes) -> tuple[Route | None, bytes | None]: ...
    def misleads(self, host: bytes, path: bytes) -> bool: ...
    def find_service(self, host: bytes, path: bytes) -> Route | None: ...
