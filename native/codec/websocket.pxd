"""Reads and writes the frames of WebSocket, without extensions (RFC 6455; sans-I/O)."""

from libc.stdint cimport uint64_t

cpdef enum Opcode:
    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10

cpdef enum CloseCode:
    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED = 1003          # a binary message where text is expected
    NOT_TEXT = 1007             # text that is not UTF-8
    POLICY = 1008
    TOO_BIG = 1009
    TRY_LATER = 1013

cdef struct Utf8:               # begins with zeros; ``need`` is 0 where a character ends
    int need                    # bytes of the current character that are missing
    unsigned char low, high     # between which the next of them has to be

# Returns whether the bytes go on as UTF-8 (RFC 3629), and keeps what is open at their end.
cdef bint take_utf8(Utf8* state, const unsigned char* p, Py_ssize_t size) noexcept nogil
cdef bint is_utf8(bytes text) noexcept

cdef class FrameReader:
    """Reads the frames of one peer. Bytes are copied; nothing of a chunk is borrowed."""
    cdef readonly int fault             # the CloseCode for which the connection has to fail; 0 = there is none
    cdef readonly str reason            # why, for the peer: ASCII, at most 123 characters
    cdef readonly bint closed           # a Close has come: what follows is dropped
    cdef Py_ssize_t limit               # bytes of a message
    cdef bint masked                    # the peer has to mask: it is a client
    cdef unsigned char[14] head
    cdef int have                       # bytes of the head so far; -1 = it is complete
    cdef int opcode                     # of the current frame
    cdef bint final
    cdef unsigned char[4] key
    cdef uint64_t left                  # bytes of the payload that are missing
    cdef uint64_t offset                # ... and that have come
    cdef int message                    # the opcode of the message that is open; 0 = none is
    cdef char* kept                     # what has come of it
    cdef Py_ssize_t size, room
    cdef unsigned char[125] control     # the payload of a control frame
    cdef Utf8 text
    # Returns (opcode, payload) of each complete message and control frame, in order, up to a fault.
    cdef list feed(self, const char* data, Py_ssize_t size)
    cdef bint is_within(self) noexcept  # a frame or a message is incomplete
    cdef int _take_head(self) except -1
    cdef int _take_payload(self, const unsigned char* p, Py_ssize_t size) except -1
    cdef int _end_frame(self, list found) except -1
    cdef int _fail(self, int code, str reason) except -1

cdef bytes write_frame(int opcode, bytes payload)       # of a server: not masked
# A text message: ``front`` and the rest of ``data`` from ``start`` on.
cdef bytes write_text(bytes front, bytes data, Py_ssize_t start)
cdef bytes close_payload(int code, str reason)          # reason: ASCII
cdef int code_of_close(bytes payload) noexcept          # of a valid Close; 0 = it has none
cdef bytes accept_value(bytes key)                      # Sec-WebSocket-Accept; None = no Sec-WebSocket-Key
