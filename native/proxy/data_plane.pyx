from os import urandom

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcpy
from native.state.allowance cimport month_at
from native.balance.balancer cimport Target
from native.io.atomics cimport add64, store64
from native.state.shared_state cimport (
    T_CONNECTS, T_CONNECT_FAILURES, W_ACCEPTED, W_BUFFERED, W_BYTES_IN, W_BYTES_OUT, W_CONNECTIONS, W_MALFORMED, W_RECORDED,
    W_UNRECORDED, W_UPSTREAMS, W_UPSTREAMS_IDLE,
)
from native.io.clock cimport monotonic_ns, wall_ns
from native.io.descriptors cimport client_limit
from native.http.connection_pool cimport ConnectionPool
from native.proxy.record cimport Recorder

from native.http.protocol_detect import ProtocolDetect
from native.http.http1_client import Http1Client
from native.http.http2_client import Http2Client

# The fine wheel's tick bounds how late a deadline fires; 100 wake-ups a second cost well under a thousandth of a core.
cdef uint64_t FINE_TICK_NS = 10_000_000
cdef uint64_t COARSE_TICK_NS = 250_000_000
cdef double FINE_TICK_S = 0.01
cdef const char* DIGITS = b"0123456789abcdef"
cdef double IDLE_TICK_S = 0.25
# A tick that comes so late tells of a loop, or a machine, that stood still.
cdef uint64_t LATE_NS = 100_000_000
cdef double CATCH_UP_S = 0.001
cdef uint64_t SWEEP_NS = 1_000_000_000
# Records go on this often, or as soon as so many wait: all of them are encoded in a tenth of a millisecond, and for
# control a message costs as much as tens of records do.
cdef uint64_t FLUSH_NS = 100_000_000
cdef Py_ssize_t FLUSH_AT = 128
cdef Py_ssize_t FLUSH_MOST = 512


cdef class DataPlaneCore(Acceptor):
    """The shared part of a worker's data path. Use :class:`native.proxy.exchange.DataPlane`.

    Args:
        shared_state: the node's shared state.
        worker: this worker's column.
        router: the compiled Snapshot to begin with.
        opener: ``open(pool)`` starts one upstream connection.
        local: ``(door, method, path, snapshot) -> (status, fields, body)`` for what edge answers itself.
        reply: the table of our own errors (edge.listen.reply).
        rest: ``(fields) -> seconds | None``, how long an answer asks us to stay away (edge.providers.retry_after).
        calls: edge's own gRPC methods (edge.listen.calls.Calls); None = there are none.
        named: ``(alternatives, names) -> bool``, is a certificate another region's edge's (edge.listen.certified)?
            None = none is.
        records: ``(records) -> bool`` takes what was recorded, tuples in the order of edge.terms.trace.ExchangeRecord;
            False = it could not. None = nothing is recorded.
    """

    def __init__(
        self, SharedState shared_state, int worker, Router router, *, opener, local, reply, rest, calls=None, named=None, records=None
    ):
        cdef uint64_t now = monotonic_ns()
        self.shared_state = shared_state
        self.worker = worker
        self.opener = opener
        self.local = local
        self.reply = reply
        self.rest = rest
        self.calls = calls
        self.named = named
        self.records = records
        self.recorder = Recorder(router.snapshot.tracing)
        self.meter = shared_state.worker(worker)
        self.counters.accepted = &self.meter.count[<int>W_ACCEPTED]
        self.counters.open = &self.meter.count[<int>W_CONNECTIONS]
        self.counters.malformed = &self.meter.count[<int>W_MALFORMED]
        self.counters.bytes_in = &self.meter.count[<int>W_BYTES_IN]
        self.counters.bytes_out = &self.meter.count[<int>W_BYTES_OUT]
        self.counters.buffered = &self.meter.count[<int>W_BUFFERED]
        self.coarse = Wheel(now, COARSE_TICK_NS, 512)
        self.fine = Wheel(now, FINE_TICK_NS, 512)
        self.open_connections = set()
        self.pools = {}
        self.crowded = []
        seed = urandom(16)
        self.chance = int.from_bytes(seed[:8], "little") | 1
        self.prefix = seed[8:14].hex().encode()
        self.look_at_calendar(now)
        self.swap(router)

    def __repr__(self):
        return f"<data plane worker={self.worker} active={self.active} connections={len(self.open_connections)}>"

    def protocol(self, bint allow_anonymous=False):
        """Return the protocol object for one new client connection; ``allow_anonymous``: its listener asks for no key."""
        return ProtocolDetect(self, allow_anonymous)

    def swap(self, Router router):
        """Take a new Snapshot: exchanges in flight keep theirs, pools of unchanged targets stay open."""
        cdef dict pools = {}
        cdef list leaving = []
        cdef ConnectionPool pool
        cdef Target target
        snapshot = router.snapshot
        limits = snapshot.limits
        for item in router.targets:
            target = <Target>item
            kept = self.pools.pop(target.id, None)
            if kept is not None and (<ConnectionPool>kept).plan == target.plan:
                pool = <ConnectionPool>kept
                pool.verdicts = snapshot.outcomes[target.plan.outcomes]
                pool.hints = snapshot.hints.get(target.plan.outcomes, ())
                pool.connect_ns = 0
            else:
                if kept is not None:
                    leaving.append(kept)
                pool = ConnectionPool(
                    target.id, target.plan, self.opener, self._dial, snapshot.outcomes[target.plan.outcomes],
                    snapshot.hints.get(target.plan.outcomes, ()),
                )
                pool.counted = self.shared_state
                pool.counters.open = &self.meter.count[<int>W_UPSTREAMS]
                pool.counters.connects = &target.rec.count[<int>T_CONNECTS]
                pool.counters.connect_failures = &target.rec.count[<int>T_CONNECT_FAILURES]
                pool.connect_ns = 0
            target.pool = pool
            pools[target.id] = pool
        for gone in self.pools.values():
            leaving.append(gone)
        for gone in leaving:
            (<ConnectionPool>gone).close()
            if (<ConnectionPool>gone).live or (<ConnectionPool>gone).opening:
                pools[gone] = gone      # under no target's name: looked after until its last exchange is over
        for route in snapshot.routes:
            for member in route.members:
                pool = <ConnectionPool>pools[snapshot.targets[member.target].id]
                pool.connect_ns = max(pool.connect_ns, <uint64_t>route.timeouts.connect_ns)
        self.pools = pools
        self.router = router
        self.header_bytes = limits.header_bytes
        self.header_count = limits.header_count
        self.idle_ns = limits.idle_ns
        self.header_timeout_ns = limits.header_timeout_ns
        self.body_timeout_ns = limits.body_timeout_ns
        self.client_idle_ns = limits.client_idle_ns
        self.buffered_limit = limits.max_buffered
        self.body_limit = limits.body
        self.answer_limit = limits.max_response
        self.replay_limit = limits.retry_buffer
        self.comment_ns = limits.keepalive_comment_ns
        self.connection_limit = limits.connections if limits.connections else client_limit()
        self.region = snapshot.region.encode()
        self.told_region = (b"x-edge-region", self.region)
        self.recorder.configure(snapshot.tracing)
        self.regional = snapshot.peers is not None
        self.peer_token = None
        names = ()
        if self.regional:
            names = snapshot.peers.allowed_names
            if snapshot.peers.token:        # an empty one is none, not one that anybody may show
                self.peer_token = snapshot.peers.token.encode("latin-1")
        if names != self.peer_names:
            self.peer_names = names

    cdef bint knows(self, ClientCertificate who):
        """Is it another region's edge?  Looked at once a connection, and again when a reload has changed the names."""
        if who.checked_names is not self.peer_names:
            who.is_region = self.named is not None and self.named(who.subject_alt_names, self.peer_names)
            who.checked_names = self.peer_names
        return who.is_region

    def _dial(self, pool):
        wire = Http1Client if pool.plan.protocol == "http1" else Http2Client
        return wire(pool, self.header_bytes, self.header_count)

    def start(self, loop):
        """Run deadlines on ``loop`` until :meth:`stop`."""
        self.loop = loop
        self.quick = False
        self.tick_in(IDLE_TICK_S)

    def stop(self):
        """Stop the tick and end every connection, whatever runs on it."""
        if self.ticking is not None:
            self.ticking.cancel()
            self.ticking = None
        for connection in list(self.open_connections):
            connection.kill()
        for pool in self.pools.values():
            (<ConnectionPool>pool).close()
        while self.recorder.pending:
            self.flush(monotonic_ns())

    def leave(self):
        """Let every HTTP/1.1 answer from now on be the last of its connection; idle connections stay. Idempotent."""
        self.draining = True

    def drain(self):
        """Tell keep-alive clients to close, close idle ones; exchanges in flight finish. Idempotent."""
        self.draining = True
        for connection in list(self.open_connections):
            connection.retire()

    @property
    def connections(self):
        """Client connections open now."""
        return len(self.open_connections)

    def _tick(self):
        cdef uint64_t now = monotonic_ns()
        cdef Py_ssize_t idle = 0
        if now > self.due_ns + LATE_NS and not self.late:
            # The loop runs its timers before it reads. Answers that came while it stood still would be judged as if
            # they had not: targets that are well would be left alone, all of them at once.
            self.late = True
            self.tick_in(CATCH_UP_S)
            return
        self.late = False
        self.quick = self.active > 0
        self.tick_in(FINE_TICK_S if self.quick else IDLE_TICK_S)
        self.fine.advance(now)
        if self.crowded:
            self.serve(now)     # other workers free places too
        self.coarse.advance(now)
        if self.recorder.pending and (
            len(self.recorder.pending) >= FLUSH_AT or now - self.flushed_ns >= FLUSH_NS
        ):
            self.flush(now)
        if now - self.swept_ns > SWEEP_NS:
            self.swept_ns = now
            self.look_at_calendar(now)
            for pool in self.pools.values():
                (<ConnectionPool>pool).sweep(now)
                idle += (<ConnectionPool>pool).idle_count
            store64(&self.meter.count[<int>W_UPSTREAMS_IDLE], <uint64_t>idle)

    cdef flush(self, uint64_t now):
        cdef list taken = self.recorder.take(FLUSH_MOST)
        self.flushed_ns = now
        if taken is not None:
            add64(&self.meter.count[<int>(W_RECORDED if self.records(taken) else W_UNRECORDED)], len(taken))

    cdef void crowd(self, Route route):
        if route not in self.crowded:
            self.crowded.append(route)

    cdef void nudge(self):
        # Not at once: who leaves is in the middle of something, and so may be whoever made it leave.
        if not self.nudged and self.ticking is not None:
            self.nudged = True
            self.loop.call_soon(self._serve_soon)

    def _serve_soon(self):
        self.nudged = False
        if self.ticking is not None:
            self.serve(monotonic_ns())

    cdef serve(self, uint64_t now_ns):
        raise TypeError("DataPlaneCore.serve is not implemented")
    cdef void look_at_calendar(self, uint64_t now_ns) noexcept:
        cdef uint64_t now_s = wall_ns() // 1_000_000_000
        cdef uint64_t end_s = 0
        month_at(now_s, &self.month, &end_s)
        self.month_end_ns = now_ns + (end_s - now_s) * 1_000_000_000

    cdef void tick_in(self, double seconds):
        self.due_ns = monotonic_ns() + <uint64_t>(seconds * 1e9)
        self.ticking = self.loop.call_later(seconds, self._tick)

    cdef void wake(self):
        if not self.quick and self.ticking is not None:
            self.quick = True
            self.ticking.cancel()
            self.tick_in(FINE_TICK_S)

    cdef uint64_t random(self) noexcept:
        """xorshift64*: chance for balancing and jitter, not for secrets."""
        cdef uint64_t x = self.chance
        x ^= x >> 12
        x ^= x << 25
        x ^= x >> 27
        self.chance = x
        return x * <uint64_t>0x2545F4914F6CDD1D

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

    cdef bytes refusal(self, int status, str reason):
        return self.reply.refusal(status, reason)
