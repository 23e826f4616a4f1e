# Reads and writes gRPC's statuses, timeouts and message frames.  Types of the compiled module; the contract is in
# grpc.pxd.

from enum import IntEnum

class Status(IntEnum):
    # The gRPC status codes that edge sends itself or interprets.

    GRPC_OK = 0
    GRPC_CANCELLED = 1
    GRPC_UNKNOWN = 2
    GRPC_INVALID_ARGUMENT = 3
    GRPC_DEADLINE_EXCEEDED = 4
    GRPC_NOT_FOUND = 5
    GRPC_PERMISSION_DENIED = 7
    GRPC_RESOURCE_EXHAUSTED = 8
    GRPC_UNIMPLEMENTED = 12
    GRPC_INTERNAL = 13
    GRPC_UNAVAILABLE = 14
    GRPC_DATA_LOSS = 15

def read_timeout(value: bytes) -> int: ...
def format_timeout(ns: int) -> bytes: ...
def status_code(value: bytes) -> int: ...
def pushback(value: bytes) -> int: ...
def frame_message(message: bytes) -> bytes: ...
def read_messages(data: bytes, limit: int = 4194304) -> tuple[list[bytes], int]: ...
def is_grpc_type(content_type: bytes) -> bool: ...
