"""Reads and writes the parts of gRPC that a proxy must understand: statuses, timeouts and message frames.

Source: gRPC over HTTP2 (PROTOCOL-HTTP2.md): Timeout, Status-Message, Length-Prefixed-Message; A6 for the pushback."""

from libc.stdint cimport int64_t, uint64_t

cpdef enum Status:
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

cdef bint is_grpc(bytes content_type) noexcept          # application/grpc, +proto, ;...
cdef int64_t timeout_ns(bytes value) noexcept           # -1 = not a timeout
cdef bytes write_timeout(uint64_t ns)                   # at most eight digits, rounded down, at least 1n
cdef int read_status(bytes value) noexcept              # -1 = not a status
cdef int64_t pushback_ms(bytes value) noexcept          # negative = never retry (A6: so are malformed values)
cdef bytes frame(bytes message)                         # an uncompressed length-prefixed message
# Read the messages in data from ``at`` on; return the end of the last complete one, -1 = compressed, -2 = over limit.
cdef Py_ssize_t unframe(bytes data, Py_ssize_t at, Py_ssize_t limit, list messages) except -3
