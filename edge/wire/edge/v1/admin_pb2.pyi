from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TargetState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TARGET_STATE_UNSPECIFIED: _ClassVar[TargetState]
    TARGET_STATE_USABLE: _ClassVar[TargetState]
    TARGET_STATE_OPEN: _ClassVar[TargetState]
    TARGET_STATE_HALF_OPEN: _ClassVar[TargetState]
    TARGET_STATE_SLOW_START: _ClassVar[TargetState]
    TARGET_STATE_RATE_LIMITED: _ClassVar[TargetState]
    TARGET_STATE_QUARANTINED: _ClassVar[TargetState]
    TARGET_STATE_MANUAL: _ClassVar[TargetState]
TARGET_STATE_UNSPECIFIED: TargetState
TARGET_STATE_USABLE: TargetState
TARGET_STATE_OPEN: TargetState
TARGET_STATE_HALF_OPEN: TargetState
TARGET_STATE_SLOW_START: TargetState
TARGET_STATE_RATE_LIMITED: TargetState
TARGET_STATE_QUARANTINED: TargetState
TARGET_STATE_MANUAL: TargetState

class StatusRequest(_message.Message):
    __slots__ = ("targets",)
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    targets: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, targets: _Optional[_Iterable[str]] = ...) -> None: ...

class StatusResponse(_message.Message):
    __slots__ = ("node", "region", "version", "snapshot", "ready", "why_not_ready", "workers", "workers_of", "targets")
    NODE_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    WHY_NOT_READY_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    WORKERS_OF_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    node: str
    region: str
    version: str
    snapshot: int
    ready: bool
    why_not_ready: str
    workers: int
    workers_of: int
    targets: _containers.RepeatedCompositeFieldContainer[TargetStatus]
    def __init__(self, node: _Optional[str] = ..., region: _Optional[str] = ..., version: _Optional[str] = ..., snapshot: _Optional[int] = ..., ready: _Optional[bool] = ..., why_not_ready: _Optional[str] = ..., workers: _Optional[int] = ..., workers_of: _Optional[int] = ..., targets: _Optional[_Iterable[_Union[TargetStatus, _Mapping]]] = ...) -> None: ...

class RouteStatus(_message.Message):
    __slots__ = ("route", "tier", "weight", "state")
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    route: str
    tier: int
    weight: float
    state: TargetState
    def __init__(self, route: _Optional[str] = ..., tier: _Optional[int] = ..., weight: _Optional[float] = ..., state: _Optional[_Union[TargetState, str]] = ...) -> None: ...

class TargetStatus(_message.Message):
    __slots__ = ("id", "state", "usable", "why", "until_s", "routes", "inflight", "volume", "error_ratio", "slow_ratio", "consecutive", "trips", "first_token_ms", "first_byte_ms", "first_token_penalty_ms", "first_byte_penalty_ms", "attempts")
    class AttemptsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    USABLE_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    UNTIL_S_FIELD_NUMBER: _ClassVar[int]
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    INFLIGHT_FIELD_NUMBER: _ClassVar[int]
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    ERROR_RATIO_FIELD_NUMBER: _ClassVar[int]
    SLOW_RATIO_FIELD_NUMBER: _ClassVar[int]
    CONSECUTIVE_FIELD_NUMBER: _ClassVar[int]
    TRIPS_FIELD_NUMBER: _ClassVar[int]
    FIRST_TOKEN_MS_FIELD_NUMBER: _ClassVar[int]
    FIRST_BYTE_MS_FIELD_NUMBER: _ClassVar[int]
    FIRST_TOKEN_PENALTY_MS_FIELD_NUMBER: _ClassVar[int]
    FIRST_BYTE_PENALTY_MS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    id: str
    state: TargetState
    usable: bool
    why: str
    until_s: float
    routes: _containers.RepeatedCompositeFieldContainer[RouteStatus]
    inflight: int
    volume: int
    error_ratio: float
    slow_ratio: float
    consecutive: int
    trips: int
    first_token_ms: float
    first_byte_ms: float
    first_token_penalty_ms: float
    first_byte_penalty_ms: float
    attempts: _containers.ScalarMap[str, int]
    def __init__(self, id: _Optional[str] = ..., state: _Optional[_Union[TargetState, str]] = ..., usable: _Optional[bool] = ..., why: _Optional[str] = ..., until_s: _Optional[float] = ..., routes: _Optional[_Iterable[_Union[RouteStatus, _Mapping]]] = ..., inflight: _Optional[int] = ..., volume: _Optional[int] = ..., error_ratio: _Optional[float] = ..., slow_ratio: _Optional[float] = ..., consecutive: _Optional[int] = ..., trips: _Optional[int] = ..., first_token_ms: _Optional[float] = ..., first_byte_ms: _Optional[float] = ..., first_token_penalty_ms: _Optional[float] = ..., first_byte_penalty_ms: _Optional[float] = ..., attempts: _Optional[_Mapping[str, int]] = ...) -> None: ...

class DrainRequest(_message.Message):
    __slots__ = ("target", "reason")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    target: str
    reason: str
    def __init__(self, target: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class DrainResponse(_message.Message):
    __slots__ = ("target",)
    TARGET_FIELD_NUMBER: _ClassVar[int]
    target: TargetStatus
    def __init__(self, target: _Optional[_Union[TargetStatus, _Mapping]] = ...) -> None: ...

class EjectRequest(_message.Message):
    __slots__ = ("target", "reason")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    target: str
    reason: str
    def __init__(self, target: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class EjectResponse(_message.Message):
    __slots__ = ("target",)
    TARGET_FIELD_NUMBER: _ClassVar[int]
    target: TargetStatus
    def __init__(self, target: _Optional[_Union[TargetStatus, _Mapping]] = ...) -> None: ...

class RestoreRequest(_message.Message):
    __slots__ = ("target",)
    TARGET_FIELD_NUMBER: _ClassVar[int]
    target: str
    def __init__(self, target: _Optional[str] = ...) -> None: ...

class RestoreResponse(_message.Message):
    __slots__ = ("target",)
    TARGET_FIELD_NUMBER: _ClassVar[int]
    target: TargetStatus
    def __init__(self, target: _Optional[_Union[TargetStatus, _Mapping]] = ...) -> None: ...

class ReloadRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReloadResponse(_message.Message):
    __slots__ = ("snapshot", "changed")
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    snapshot: int
    changed: bool
    def __init__(self, snapshot: _Optional[int] = ..., changed: _Optional[bool] = ...) -> None: ...

class WatchVerdictsRequest(_message.Message):
    __slots__ = ("targets",)
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    targets: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, targets: _Optional[_Iterable[str]] = ...) -> None: ...

class Verdict(_message.Message):
    __slots__ = ("target", "was", "now", "usable", "why", "until_s", "at")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    WAS_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    USABLE_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    UNTIL_S_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    target: str
    was: TargetState
    now: TargetState
    usable: bool
    why: str
    until_s: float
    at: float
    def __init__(self, target: _Optional[str] = ..., was: _Optional[_Union[TargetState, str]] = ..., now: _Optional[_Union[TargetState, str]] = ..., usable: _Optional[bool] = ..., why: _Optional[str] = ..., until_s: _Optional[float] = ..., at: _Optional[float] = ...) -> None: ...
