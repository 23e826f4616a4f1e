from collections import deque

from libc.stdint cimport int64_t, uint64_t
from native.http.stream cimport FAILED_CONNECT
from native.io.atomics cimport add64
from native.io.clock cimport monotonic_ns

# An idle connection older than this is closed: common servers keep theirs 60-75 s, and a request sent into a closing
# connection is a needless retry. Services often keep only 5 s (node, uvicorn).
cdef uint64_t MODEL_IDLE_NS = 45_000_000_000
cdef uint64_t SERVICE_IDLE_NS = 4_000_000_000
# HTTP/2 says goodbye before it closes, so an idle connection may be kept for longer.
cdef uint64_t SHARED_IDLE_NS = 120_000_000_000
# Silence on a shared connection: is anybody there? Without an answer in time, nobody is.
cdef uint64_t SILENCE_NS = 30_000_000_000
cdef uint64_t PONG_NS = 10_000_000_000
# Long enough to be cheap, short enough that a moved address is noticed. Each connection adds up to a quarter.
cdef uint64_t AGE_NS = 600_000_000_000
# The rest of an unwanted answer may take this long before its connection is worth less than a new one; a peer that does
# not read may hold up a connection's end for as long.
cdef uint64_t DREGS_NS = 2_000_000_000
# What the client of a tunnel said last is somebody's message: its service may take this long to read it.
cdef uint64_t TAIL_NS = 30_000_000_000

# Shorter values are ordinary words, which an error may well contain.
cdef Py_ssize_t SHORTEST_SECRET = 8

# Exchanges at once on one HTTP/2 connection; a peer may allow fewer. More connections follow when all are full.
cdef int STREAMS = 100


cdef class PooledConnection(ClientStream):
    cdef void assign(self, ClientEvents events):
        return

    cdef bint is_reusable(self):
        return False

    cdef bint is_draining(self):
        return False

    cdef void close(self):
        return


cdef class SharedConnection:
    cdef int room(self):
        return 0

    cdef ClientStream take(self, ClientEvents who):
        return None

    cdef void check_deadlines(self, uint64_t now_ns):
        return

    cdef void close(self):
        return


cdef class ConnectionPool:
    """Upstream connections of one worker to one target.

    Args:
        name: the target that it serves, as people know it.
        plan: its edge.terms.snapshot.Target, which says where and how.
        opener: object whose ``open(pool)`` starts one connection.
        factory: called with the pool, returns the protocol object of a new connection.
        verdicts: 600 action codes, one per status.
        hints: (status, needle, action) triples that refine an answer by its body.
    """

    def __init__(self, str name, object plan, object opener, object factory, bytes verdicts, tuple hints):
        if len(verdicts) != 600:
            raise ValueError(f"the outcome table of {name} has {len(verdicts)} entries, not 600")
        self.name = name
        self.plan = plan
        self.opener = opener
        self.factory = factory
        self.idle = []
        self.draining_connections = []
        self.shared = []
        self.shares = plan.protocol != "http1"
        self.breadth = STREAMS if self.shares else 1
        self.waiters = deque()
        self.cap = plan.max_connections
        self.connect_ns = 2_000_000_000
        self.is_service = plan.kind == "service"
        self.is_region = plan.kind == "region"
        self.idle_limit_ns = SERVICE_IDLE_NS if self.is_service else MODEL_IDLE_NS
        if self.shares:
            self.idle_limit_ns = SHARED_IDLE_NS
        self.silence_ns = SILENCE_NS
        self.pong_ns = PONG_NS
        self.drain_limit_ns = DREGS_NS
        self.tail_ns = TAIL_NS
        self.age_limit_ns = AGE_NS
        default_port = 443 if plan.tls is not None else 80
        host = f"[{plan.host}]" if ":" in plan.host else plan.host
        self.authority = (host if plan.port == default_port else f"{host}:{plan.port}").encode()
        self.base_path = plan.base_path.encode()
        self.model = plan.model.encode()
        self.told = (b"x-edge-target", name.encode())
        self.fields = [(name.encode(), value.encode("latin-1")) for name, value in plan.fields]
        # of "Bearer KEY" the last word is dangerous by itself
        words = [value.rpartition(b" ")[2] for _, value in self.fields]
        self.secrets = tuple([word for word in words if len(word) >= SHORTEST_SECRET])
        self.verdicts = verdicts
        self.hints = hints

    def __repr__(self):
        return f"<ConnectionPool {self.name} live={self.live} idle={len(self.idle)} opening={self.opening}>"

    @property
    def idle_count(self):
        """Connections that wait for an exchange."""
        return len(self.idle)

    def protocol(self):
        """Return the protocol object for one new connection."""
        return self.factory(self)

    def failed(self, str reason, bint timed_out=False):
        """Tell the pool that the connection it asked for did not come; ``reason`` is a sentence without secrets."""
        cdef ClientEvents who
        self.opening -= 1
        add64(self.counters.connect_failures, 1)
        # those whom this one would have carried; who comes back meanwhile stands behind them
        for _ in range(min(len(self.waiters) - self.opening * self.breadth, self.breadth)):
            if not self.waiters:
                return
            who = <ClientEvents>self.waiters.popleft()
            who.on_failed(FAILED_CONNECT, reason)
        self.widen()        # the others waited for a place, and this one has left one

    cdef int acquire(self, ClientEvents who):
        cdef PooledConnection connection
        if self.shares:
            return self.acquire_shared(who)
        while self.idle:
            connection = <PooledConnection>self.idle.pop()
            if connection.is_reusable():
                connection.assign(who)
                who.on_connection(connection)
                return 1
            connection.close()
        if self.live + self.opening >= self.cap:
            if len(self.waiters) >= self.cap:
                return -1
            self.waiters.append(who)
            return 0
        self.waiters.append(who)
        self.opening += 1
        self.opener.open(self)
        return 0

    cdef void forget(self, ClientEvents who):
        try:
            self.waiters.remove(who)
        except ValueError:
            return

    cdef bint crowded(self) noexcept:
        return self.opening == 0 and self.live >= self.cap

    cdef void ready(self, PooledConnection connection):
        self.opening -= 1
        self.live += 1
        connection.born_ns = monotonic_ns()
        connection.lifetime_ns = self.age_limit_ns + (connection.born_ns & 0xFFFF) * (self.age_limit_ns >> 18)
        add64(self.counters.connects, 1)
        add64(self.counters.open, 1)
        if self.closed and not self.waiters:
            connection.close()
            return
        self.place(connection)

    cdef place(self, PooledConnection connection):
        cdef ClientEvents who
        if self.waiters:
            who = <ClientEvents>self.waiters.popleft()
            connection.assign(who)
            who.on_connection(connection)
            return
        connection.idle_since_ns = monotonic_ns()
        self.idle.append(connection)

    cdef void release(self, PooledConnection connection):
        if (self.closed and not self.waiters) or monotonic_ns() - connection.born_ns > connection.lifetime_ns:
            connection.close()
            return
        self.place(connection)

    cdef void lost(self, PooledConnection connection, bint was_open):
        if not was_open:
            return
        self.live -= 1
        add64(self.counters.open, <uint64_t>-1)
        if connection in self.idle:
            self.idle.remove(connection)
        self.widen()        # somebody may be waiting for the place this one held

    cdef int acquire_shared(self, ClientEvents who):
        cdef SharedConnection connection
        cdef ClientStream stream
        for item in self.shared:
            connection = <SharedConnection>item
            if connection.room() > 0:
                stream = connection.take(who)
                who.on_connection(stream)
                return 1
        if len(self.waiters) >= self.cap * self.breadth:
            return -1
        self.waiters.append(who)
        self.widen()
        return 0

    cdef void widen(self):
        while self.opening * self.breadth < len(self.waiters) and self.live + self.opening < self.cap:
            self.opening += 1
            self.opener.open(self)

    cdef void on_shared_open(self, SharedConnection connection):
        self.opening -= 1
        self.live += 1
        connection.born_ns = monotonic_ns()
        connection.lifetime_ns = self.age_limit_ns + (connection.born_ns & 0xFFFF) * (self.age_limit_ns >> 18)
        add64(self.counters.connects, 1)
        add64(self.counters.open, 1)
        self.shared.append(connection)
        self.on_stream_capacity(connection)
        if self.closed:
            connection.close()

    cdef void allow(self, int64_t streams):
        self.breadth = max(1, <int>min(streams, <int64_t>STREAMS))
        self.widen()

    cdef void on_stream_capacity(self, SharedConnection connection):
        cdef ClientEvents who
        cdef ClientStream stream
        while self.waiters and connection.room() > 0:
            who = <ClientEvents>self.waiters.popleft()
            stream = connection.take(who)
            who.on_connection(stream)

    cdef void on_shared_closed(self, SharedConnection connection):
        self.live -= 1
        add64(self.counters.open, <uint64_t>-1)
        if connection in self.shared:
            self.shared.remove(connection)
        self.widen()

    cdef void sweep(self, uint64_t now_ns):
        """Close what has been idle too long (the oldest stand first), and cut what goes on for nobody and does not end."""
        cdef PooledConnection connection
        for item in list(self.shared):
            (<SharedConnection>item).check_deadlines(now_ns)
        if self.draining_connections:
            draining_connections = self.draining_connections
            self.draining_connections = []
            for item in draining_connections:
                connection = <PooledConnection>item
                if connection.is_draining():
                    if now_ns > connection.cut_ns:
                        connection.cancel()
                    else:
                        self.draining_connections.append(connection)
        while self.idle:
            connection = <PooledConnection>self.idle[0]
            if now_ns < connection.idle_since_ns + self.idle_limit_ns:
                return
            self.idle.pop(0)
            connection.close()

    cdef void close(self):
        """Idle connections go now, busy ones when their exchange is over; those who still wait are served."""
        self.closed = True
        while self.idle:
            (<PooledConnection>self.idle.pop()).close()
        for item in list(self.shared):
            (<SharedConnection>item).close()
