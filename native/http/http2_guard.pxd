"""Bounds what an HTTP/2 peer may cost: counts its frames before the session reads them.

Limits the frames that carry no message, the size of a header block, and the rate of streams that end in a reset.
Sources: RFC 9113 10.5; CVE-2019-9511 to 9518 (floods), VU#421644 (CONTINUATION), CVE-2023-44487 (rapid reset),
CVE-2025-8671 (MadeYouReset)."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from native.codec.head cimport Head
from native.http.http2_stream_order cimport StreamOrder

cdef enum:
    # What a reset spends: one of a stream that an upstream works for, and one that cost edge no more than an answer.
    RESET_COST = 10
    RESET_COST_CHEAP = 1

cdef class Guard:
    cdef unsigned char[9] head      # the header of the current frame
    cdef int have                   # bytes of ``head`` that have been received
    cdef uint32_t left              # payload bytes still to come
    cdef int number_left            # bytes still to come of the number that the payload of a PRIORITY begins with
    cdef uint32_t number
    cdef uint32_t skip              # bytes of the client's preface still to come
    cdef uint64_t refilled_ns
    cdef readonly int budget
    cdef Py_ssize_t block_limit
    cdef readonly Py_ssize_t block  # bytes of the open header block
    cdef int frames                 # frames of the open header block
    cdef readonly uint64_t block_since_ns      # when the header block began; 0 = no block is incomplete
    cdef bint last                  # the last frame of the block is being received
    cdef readonly int reset_budget
    cdef uint64_t resets_refilled_ns
    cdef uint64_t window_ns         # when the current count of faults began
    cdef readonly int faults
    cdef readonly str spent         # why the peer may open no more streams; None = it may
    cdef int late                   # frames that it sent nevertheless
    cdef readonly str fault         # why the peer is refused; None = no fault
    cdef readonly uint32_t fault_code   # the HTTP/2 error that the fault is
    cdef StreamOrder order          # of a client's streams; None = the peer is a server
    cdef Py_ssize_t feed(self, const uint8_t* data, Py_ssize_t size, uint64_t now_ns)
    cdef void earn(self, int amount) noexcept
    cdef void completed(self) noexcept                  # an answer was sent to its end
    cdef bint reset(self, int cost, uint64_t now_ns)    # the peer reset a stream; True = too many: it may open no more
    # A stream was reset for an error of the peer. True = too many: the peer may open no more, or ``fault`` is set.
    cdef bint provoked(self, int cost, uint64_t now_ns)
    cdef bint _late(self)
    cdef int _judge(self, uint64_t now_ns)
    cdef bint _depends_on_itself(self, const uint8_t* data, Py_ssize_t size)
    cdef uint32_t _stream(self) noexcept
    cdef void _close_block(self, int flags) noexcept
    cdef int _spend(self, int cost, str what)
    cdef void _refill(self, uint64_t now_ns) noexcept
    cdef void _turn(self, uint64_t now_ns) noexcept

# Whether the deadline that a request names has passed when it has lived for this long; head: None = it had none yet.
cdef bint has_passed_deadline(Head head, uint64_t lived_ns)
