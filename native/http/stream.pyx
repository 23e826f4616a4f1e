from native.io.atomics cimport store64

# A client for which edge holds more than this has to move so many bytes in so long, while half of the memory is used.
cdef Py_ssize_t HELD_FREE = 65536
cdef uint64_t SLOW_NS = 30_000_000_000
cdef int64_t SLOW_BYTES = 30 * 1024


cdef class ClientCertificate:
    def __repr__(self):
        return f"<ClientCertificate {self.subject_alt_names}>"


cdef class ServerEvents:
    cdef int on_request_data(self, bytes data) except -1:
        return 0

    cdef int on_request_end(self, list trailers) except -1:
        return 0

    cdef int on_client_gone(self) except -1:
        return 0

    cdef int on_client_congested(self) except -1:
        return 0

    cdef int on_client_drained(self) except -1:
        return 0


cdef class ServerStream:
    cdef int send_interim(self, int status) except -1:
        return 0

    cdef int send_head(self, int status, list fields, int64_t length) except -1:
        return 0

    cdef int send_data(self, bytes data) except -1:
        return 0

    cdef int send_end(self, list trailers) except -1:
        return 0

    cdef int cut(self) except -1:
        return 0

    cdef int pause(self) except -1:
        return 0

    cdef int resume(self) except -1:
        return 0

    cdef bint congested(self):
        return False

    cdef object peer(self):
        return None


cdef class ClientEvents:
    cdef int on_connection(self, ClientStream stream) except -1:
        return 0

    cdef int on_interim(self, int status) except -1:
        return 0

    cdef int on_head(self, Head head) except -1:
        return 0

    cdef int on_data(self, bytes data) except -1:
        return 0

    cdef int on_end(self, list trailers) except -1:
        return 0

    cdef int on_failed(self, int failure, str detail) except -1:
        return 0

    cdef int on_upstream_congested(self) except -1:
        return 0

    cdef int on_upstream_drained(self) except -1:
        return 0


cdef class ClientStream:
    cdef int send_request(self, bytes method, bytes target, bytes authority, list fields, int64_t length) except -1:
        return 0

    cdef int send_data(self, bytes data) except -1:
        return 0

    cdef int send_end(self, list trailers) except -1:
        return 0

    cdef int cancel(self) except -1:
        return 0

    cdef int discard(self) except -1:
        return 0

    cdef int pause(self) except -1:
        return 0

    cdef int resume(self) except -1:
        return 0

    cdef bint congested(self):
        return False

    cdef Py_ssize_t unsent(self):
        return 0

    cdef uint64_t heard_ns(self):
        return 0


cdef class Acceptor:
    cdef bint hold(self, Py_ssize_t* share, Py_ssize_t more) noexcept:
        if more > 0 and more > self.room(share):
            return False
        self.count(share, more)
        return True

    cdef Py_ssize_t room(self, Py_ssize_t* share) noexcept:
        """A key gets at most half of what all others leave, so that no key can make the requests of others fail."""
        cdef Py_ssize_t free = self.buffered_limit - self.buffered
        return free if share == NULL else min(free, (free - share[0]) // 2)

    cdef void count(self, Py_ssize_t* share, Py_ssize_t more) noexcept:
        if share != NULL:
            share[0] += more
        self.buffered += more
        store64(self.counters.buffered, <uint64_t>self.buffered)

    cdef bint is_too_slow(self, Pace* pace, Py_ssize_t held, int64_t moved, uint64_t now_ns) noexcept:
        if held <= HELD_FREE or self.buffered < self.buffered_limit // 2:
            pace.since_ns = 0
            return False
        if pace.since_ns == 0 or moved - pace.mark >= SLOW_BYTES:
            pace.since_ns = now_ns
            pace.mark = moved
            return False
        return now_ns - pace.since_ns >= SLOW_NS

    cdef ServerEvents open(self, ServerStream stream, Head head):
        return None

    cdef tuple refusal(self, int status, str reason):
        return [], b""


def first_slow(Py_ssize_t buffered, Py_ssize_t limit, list steps not None):
    """Return the index of the first step at which a client is cut for being slow; -1 = at none.

    Args:
        buffered: bytes that the worker holds for all, of at most ``limit``.
        steps: (bytes held for this client, bytes that it has moved in all, ns) at each check.
    """
    cdef Acceptor acceptor = Acceptor.__new__(Acceptor)
    cdef Pace pace
    pace.since_ns = 0
    pace.mark = 0
    acceptor.buffered = buffered
    acceptor.buffered_limit = limit
    for place, (held, moved, now_ns) in enumerate(steps):
        if acceptor.is_too_slow(&pace, held, moved, now_ns):
            return place
    return -1
