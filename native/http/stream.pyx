from weakref import WeakValueDictionary

from native.io.atomics cimport store64
from native.io.reactor cimport SCRATCH, SMALL_READ

# A client for which edge holds more than this has to move so many bytes a second, over so long, while memory is scarce.
cdef Py_ssize_t HELD_FREE = 65536
cdef int64_t BYTES_PER_SECOND = 1024
cdef uint64_t SLOW_NS = 30_000_000_000
# Shares for callers without a key. Addresses share one by a salted hash, so a client cannot choose with whom.
cdef int ADDRESS_SHARES = 1024


cdef class Share:
    def __repr__(self):
        return f"<Share held={self.held}>"


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
    cdef bint hold(self, Share share, Py_ssize_t more) noexcept:
        if more > 0 and more > self.room(share):
            return False
        self.count(share, more)
        return True

    cdef Py_ssize_t room(self, Share share) noexcept:
        """A share gets at most half of what all others leave, so that none can make the requests of others fail."""
        cdef Py_ssize_t free = self.buffered_limit - self.buffered
        return free if share is None else min(free, (free - share.held) // 2)

    cdef void count(self, Share share, Py_ssize_t more) noexcept:
        if share is not None:
            share.held += more
        self.buffered += more
        store64(self.counters.buffered, <uint64_t>self.buffered)
        if self.reactor is not None:
            # what is read of answers counts only afterwards, so less is read at once while there is less room
            self.reactor.read_most = SMALL_READ if self.buffered > self.buffered_limit // 4 else SCRATCH

    cdef Py_ssize_t recount(self, Share share, Py_ssize_t before, Py_ssize_t now) noexcept:
        if now != before:
            self.count(share, now - before)
        return now

    cdef Share share_of_key(self, str name):
        cdef Share share
        if self.key_shares is None:
            self.key_shares = WeakValueDictionary()
        share = <Share>self.key_shares.get(name)
        if share is None:
            self.key_shares[name] = share = Share.__new__(Share)
        return share

    cdef Share share_of_address(self, StreamSocket socket, ListenPolicy policy):
        cdef int place = <int>(socket.client % <uint64_t>ADDRESS_SHARES)
        cdef Share share
        if socket.client == 0 or policy.trusts(socket.peer()):
            return None
        if self.address_shares is None:
            self.address_shares = [None] * ADDRESS_SHARES
        share = <Share>self.address_shares[place]
        if share is None:
            self.address_shares[place] = share = Share.__new__(Share)
        return share

    cdef bint judges(self, Pace* pace, Share share, Py_ssize_t held) noexcept:
        """Memory is scarce for a client if half of it is used, or half of what its share may have of it."""
        if held > HELD_FREE and (
            self.buffered >= self.buffered_limit // 2 or share is not None and share.held >= self.room(share)
        ):
            return True
        pace.since_ns = 0
        return False

    cdef bint is_too_slow(self, Pace* pace, int64_t moved, uint64_t now_ns) noexcept:
        cdef int64_t least = <int64_t>(self.patience_ns // 1_000_000) * BYTES_PER_SECOND // 1000
        if pace.since_ns == 0 or moved - pace.mark >= least:
            pace.since_ns = now_ns
            pace.mark = moved
            return False
        return now_ns - pace.since_ns >= self.patience_ns

    cdef int set_patience(self) except -1:
        """A client that may be idle for a shorter time only may be slow no longer either."""
        self.patience_ns = min(SLOW_NS, self.client_idle_ns)

    cdef ServerEvents open(self, ServerStream stream, Head head):
        return None

    cdef tuple refusal(self, int status, str reason):
        return [], b""

    def note_refusal(self, list fields, peer, str scheme, int version, int status, str reason, Py_ssize_t size):
        """Learn that a request could not be read: what refusal() returned was sent."""


def first_slow(Py_ssize_t buffered, Py_ssize_t limit, list steps not None, Py_ssize_t shared=-1):
    """Return the index of the first step at which a client is cut for being slow; -1 = at none.

    Args:
        buffered: bytes that the worker holds for all, of at most ``limit``.
        steps: (bytes held for this client, bytes that it has moved in all, ns) at each check.
        shared: bytes that the worker holds for the client's key; below 0 = it has no share.
    """
    cdef Acceptor acceptor = Acceptor.__new__(Acceptor)
    cdef Share share = None
    cdef Pace pace
    if shared >= 0:
        share = Share.__new__(Share)
        share.held = shared
    acceptor.patience_ns = SLOW_NS
    pace.since_ns = 0
    pace.mark = 0
    acceptor.buffered = buffered
    acceptor.buffered_limit = limit
    for place, (held, moved, now_ns) in enumerate(steps):
        if acceptor.judges(&pace, share, held) and acceptor.is_too_slow(&pace, moved, now_ns):
            return place
    return -1
