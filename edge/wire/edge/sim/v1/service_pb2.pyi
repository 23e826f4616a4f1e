from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Fault(_message.Message):
    __slots__ = ("latency_s", "status", "message", "after", "reset", "blackhole", "rate", "method", "unhealthy")
    LATENCY_S_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    RESET_FIELD_NUMBER: _ClassVar[int]
    BLACKHOLE_FIELD_NUMBER: _ClassVar[int]
    RATE_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    UNHEALTHY_FIELD_NUMBER: _ClassVar[int]
    latency_s: float
    status: int
    message: str
    after: int
    reset: bool
    blackhole: bool
    rate: float
    method: str
    unhealthy: bool
    def __init__(self, latency_s: _Optional[float] = ..., status: _Optional[int] = ..., message: _Optional[str] = ..., after: _Optional[int] = ..., reset: _Optional[bool] = ..., blackhole: _Optional[bool] = ..., rate: _Optional[float] = ..., method: _Optional[str] = ..., unhealthy: _Optional[bool] = ...) -> None: ...

class SetRequest(_message.Message):
    __slots__ = ("fault",)
    FAULT_FIELD_NUMBER: _ClassVar[int]
    fault: Fault
    def __init__(self, fault: _Optional[_Union[Fault, _Mapping]] = ...) -> None: ...

class SetResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StatsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StatsResponse(_message.Message):
    __slots__ = ("name", "calls", "running", "struck")
    class CallsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    CALLS_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    STRUCK_FIELD_NUMBER: _ClassVar[int]
    name: str
    calls: _containers.ScalarMap[str, int]
    running: int
    struck: int
    def __init__(self, name: _Optional[str] = ..., calls: _Optional[_Mapping[str, int]] = ..., running: _Optional[int] = ..., struck: _Optional[int] = ...) -> None: ...
