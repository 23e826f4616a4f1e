from email.utils import formatdate
from os import urandom

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcpy
from native.codec.retry_hints cimport may_ask_to_wait
from native.io.clock cimport monotonic_ns, wall_ns
from native.state.allowance cimport month_at

NEVER = <uint64_t>-1
# The longest time that a provider is believed to mean when it asks to stay away.
cdef uint64_t MOST_WAIT_NS = 3_600_000_000_000
# A tick bounds how late a deadline fires; 100 wake-ups a second cost under a thousandth of a core.
cdef uint64_t DEADLINE_TICK_NS = 10_000_000
cdef const char* DIGITS = b"0123456789abcdef"


cdef class Runtime:
    """What all exchanges of one worker share. The data plane owns it; hooks are described in native.proxy.hooks."""

    def __init__(self, SharedState shared_state not None, int worker, hooks):
        cdef uint64_t now = monotonic_ns()
        cdef bytes seed = urandom(16)
        self.shared_state = shared_state
        self.worker = worker
        self.meter = shared_state.worker(worker)
        self.replies = hooks.replies
        self.local = hooks.local
        self.retry_hint = hooks.retry_hint
        self.calls = hooks.calls
        self.translations = hooks.translations
        self.peer_names_match = hooks.peer_names_match
        self.sink = hooks.sink
        self.cache = hooks.cache
        self.issued = hooks.issued
        self.kept = hooks.kept
        self.questions = None if hooks.cache is None else Questions(hooks.cache)
        self.all_tokens = hooks.tokens
        self.deadlines = Wheel(now, DEADLINE_TICK_NS, 512)
        self.crowded = []
        self.detached = {}
        self.copies = []
        self.sockets = set()
        self.copy_share = Share.__new__(Share)
        self.chance = int.from_bytes(seed[:8], "little") | 1
        self.prefix = seed[8:14].hex().encode()
        self.update_month(now)

    cdef configure(self, Router router):
        """Take a new Snapshot: exchanges in flight keep theirs."""
        snapshot = router.snapshot
        plan = snapshot.limits
        self.limits = {name: getattr(plan, name) for name in plan.__struct_fields__}
        self.region = snapshot.region.encode()
        self.region_field = (b"x-edge-region", self.region)
        if self.recorder is None:
            self.recorder = Recorder(snapshot.tracing)
        else:
            self.recorder.configure(snapshot.tracing)
        self.tokens = self.all_tokens if snapshot.issuers else None
        self.regional = snapshot.peers is not None
        self.peer_token = None
        names = ()
        if self.regional:
            names = snapshot.peers.allowed_names
            if snapshot.peers.token:        # an empty token is no token: otherwise an empty field would match it
                self.peer_token = snapshot.peers.token.encode("latin-1")
        if names != self.peer_names:
            self.peer_names = names
        self.router = router

    cdef bint is_peer(self, ClientCertificate certificate):
        """Return whether a certificate is that of another region's edge. Cached per connection until a reload."""
        if certificate.checked_names is not self.peer_names:
            certificate.is_region = self.peer_names_match is not None and self.peer_names_match(
                certificate.subject_alt_names, self.peer_names
            )
            certificate.checked_names = self.peer_names
        return certificate.is_region

    cdef uint64_t random(self) noexcept:
        """xorshift64*: for balancing and jitter, not for secrets."""
        cdef uint64_t x = self.chance
        x ^= x >> 12
        x ^= x << 25
        x ^= x >> 27
        self.chance = x
        return x * <uint64_t>0x2545F4914F6CDD1D

    cdef double unit_random(self) noexcept:
        return <double>(self.random() >> 11) / 9007199254740992.0

    cdef tuple date_field(self, uint64_t now_ns):
        cdef uint64_t wall
        if now_ns >= self.date_until_ns:
            wall = wall_ns()
            self.date = (b"date", formatdate(wall // 1_000_000_000, usegmt=True).encode())
            self.date_until_ns = now_ns + 1_000_000_000 - wall % 1_000_000_000
        return self.date

    cdef bytes next_id(self):
        self.serial += 1
        cdef char[48] text
        cdef char* at = text + 48
        cdef Py_ssize_t size = PyBytes_GET_SIZE(self.prefix)
        cdef uint64_t left = self.serial
        while left or at > text + 40:       # eight hexadecimal digits, or more
            at -= 1
            at[0] = DIGITS[left & 15]
            left >>= 4
        at -= size
        memcpy(at, PyBytes_AS_STRING(self.prefix), size)
        return PyBytes_FromStringAndSize(at, text + 48 - at)

    cdef exchange_begun(self):
        self.active += 1
        if not self.quick and self.on_active is not None:
            self.on_active()

    cdef int wait_for_place(self, Route route) except -1:
        if route not in self.crowded:
            self.crowded.append(route)

    cdef int place_freed(self) except -1:
        if self.crowded and not self.nudged and self.on_place_free is not None:
            self.nudged = True
            self.on_place_free()

    cdef void update_month(self, uint64_t now_ns) noexcept:
        cdef uint64_t now_s = wall_ns() // 1_000_000_000
        cdef uint64_t end_s = 0
        month_at(now_s, &self.month, &end_s)
        self.month_end_ns = now_ns + (end_s - now_s) * 1_000_000_000

    cdef uint64_t retry_after_ns(self, list fields, bytes content):
        cdef bint told = content is not None and (b"retryDelay" in content or b'"headers"' in content)
        if not told and not may_ask_to_wait(fields):
            return 0
        seconds = self.retry_hint(fields, content) if told else self.retry_hint(fields)
        if seconds is None:
            return 0
        return <uint64_t>(min(max(<double>seconds, 0.0) * 1e9, <double>MOST_WAIT_NS))
