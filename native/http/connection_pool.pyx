"""Keeps the upstream connections of one worker to one target, and the attempts that wait for a connection.

An HTTP/1.1 connection carries one exchange at a time, an HTTP/2 connection many. ``max_connections`` limits the number
of connections; by default there is no limit. Every operation takes constant time, whatever the number of connections
and waiters: a burst of thousands of requests is the case in which a slow pool would hurt most.
"""

from collections import OrderedDict

from libc.stdint cimport int64_t, uint64_t
from native.http.stream cimport FAILED_CONNECT, FAILED_LOCAL
from native.io.atomics cimport add64
from native.io.clock cimport event_time_ns, monotonic_ns

# An idle connection older than this is closed. Common servers close theirs after 60 to 75 s, and a request that is sent
# into a closing connection costs a needless retry. Services often keep a connection for only 5 s (node, uvicorn).
cdef uint64_t MODEL_IDLE_NS = 45_000_000_000
cdef uint64_t SERVICE_IDLE_NS = 4_000_000_000
# HTTP/2 announces the end of a connection (GOAWAY), so an idle connection may be kept for longer.
cdef uint64_t SHARED_IDLE_NS = 120_000_000_000
# A shared connection that is silent for SILENCE_NS is sent a ping. Without an answer within PONG_NS it is dead.
cdef uint64_t SILENCE_NS = 30_000_000_000
cdef uint64_t PONG_NS = 10_000_000_000
# A connection is replaced at this age: old enough that connects are rare, young enough that a changed address is
# noticed. Each connection adds up to a quarter, so that the connections do not all end together.
cdef uint64_t AGE_NS = 600_000_000_000
# The rest of an unwanted answer may take this long. After that a new connection is cheaper. An upstream that does not
# read may delay the close of its connection for as long.
cdef uint64_t DRAIN_NS = 2_000_000_000
# The last bytes that a tunnel's client sent may be a message, so the service has this long to read them.
cdef uint64_t TAIL_NS = 30_000_000_000

# Shorter values could be ordinary words, which the text of an error may contain by chance.
cdef Py_ssize_t SHORTEST_SECRET = 8
# Secrets of before a renewal that answers in flight may still quote.
cdef int MOST_BEFORE = 4

# Maximum number of concurrent exchanges on an HTTP/2 connection; the upstream may allow fewer. When every connection is
# full, more connections are opened.
cdef int STREAMS = 100
# While it is not known whether a target's connections are shared, so many are opened at once; a burst waits for the first
# handshake instead of paying for thousands.
cdef int UNSETTLED_OPENINGS = 4


cdef class PooledConnection(ClientStream):
    cdef int assign(self, ClientEvents events) except -1:
        return 0

    cdef bint is_reusable(self):
        return False

    cdef bint is_silent(self):
        return False

    cdef bint is_draining(self):
        return False

    cdef int close(self) except -1:
        return 0


cdef class SharedConnection:
    cdef int room(self):
        return 0

    cdef bint is_quiet(self):
        return False

    cdef int distrust(self) except -1:
        return 0

    cdef ClientStream take(self, ClientEvents who):
        return None

    cdef int check_deadlines(self, uint64_t now_ns) except -1:
        return 0

    cdef int close(self) except -1:
        return 0


cdef class ConnectionPool:
    """The upstream connections of one worker to one target.

    Args:
        name: the target's id, as in the configuration.
        plan: the target's edge.terms.snapshot.Target, which says where and how to connect.
        opener: an object whose ``open(pool)`` starts one connection.
        factory: called with the pool; returns the Http1Client or Http2Client of a new connection.
        verdicts: 600 action codes, indexed by status.
        hints: (status, needle, action) triples: an answer with this status and this text in its body gets this action.
    """

    def __init__(self, str name, object plan, object opener, object factory, bytes verdicts, tuple hints):
        if len(verdicts) != 600:
            raise ValueError(f"the outcome table of {name} has {len(verdicts)} entries, not 600")
        self.name = name
        self.plan = plan
        self.opener = opener
        self.factory = factory
        self.counters.open = &self.own_counts[0]
        self.counters.connects = &self.own_counts[1]
        self.counters.connect_failures = &self.own_counts[2]
        self.idle = []
        self.draining_connections = []
        self.shared = set()
        self.vacancies = []
        self.negotiates = plan.protocol == "alpn"
        self.shares = plan.protocol != "http1" and not self.negotiates
        self.breadth = STREAMS if self.shares else 1
        self.waiters = OrderedDict()
        self.cap = plan.max_connections
        self.connect_ns = 2_000_000_000
        self.is_service = plan.kind == "service"
        self.is_region = plan.kind == "region"
        self.idle_limit_ns = SERVICE_IDLE_NS if self.is_service else MODEL_IDLE_NS
        if self.shares:
            self.idle_limit_ns = SHARED_IDLE_NS
        self.silence_ns = SILENCE_NS
        self.pong_ns = PONG_NS
        self.drain_limit_ns = DRAIN_NS
        self.tail_ns = TAIL_NS
        self.age_limit_ns = AGE_NS
        default_port = 443 if plan.tls is not None else 80
        host = f"[{plan.host}]" if ":" in plan.host else plan.host
        self.authority = (host if plan.port == default_port else f"{host}:{plan.port}").encode()
        self.base_path = plan.base_path.encode()
        self.model = plan.model.encode()
        self.api_version = plan.api_version.encode() or None
        self.dialect = plan.dialect
        self.told = (b"x-edge-target", name.encode())
        self.secrets = ()
        self.renew(plan)
        self.verdicts = verdicts
        self.hints = hints
        self.wordings = {}

    def __repr__(self):
        return f"<ConnectionPool {self.name} live={self.live} idle={self.idle_count} opening={self.opening}>"

    def renew(self, plan not None):
        """Take other credentials: attempts that begin from now on carry them, over the connections that are there.

        Args:
            plan: the target's plan, which differs from the one before in credentials alone.
        """
        cdef tuple before = self.secrets        # an answer to what was sent with them may still quote them
        self.plan = plan
        self.fields = [(name.encode(), value.encode("latin-1")) for name, value in plan.fields]
        # the last word of "Bearer KEY" is a secret by itself
        words = [value.rpartition(b" ")[2] for _, value in self.fields]
        self.signer = None
        if plan.signing is not None:
            keys = plan.signing
            self.signer = Signer(keys.region, keys.service, keys.access, keys.secret, keys.session, int(keys.expires))
            words += [keys.secret.encode(), keys.session.encode()]
        held = tuple([word for word in words if len(word) >= SHORTEST_SECRET])
        self.secrets = held + tuple([word for word in before[:MOST_BEFORE] if word not in held])

    def learn_words(self, tuple wordings):
        """Take the Snapshot's wordings, which say what the error texts of models' targets mean."""
        self.wordings = {}
        if self.plan.kind != "model":
            return
        for statuses, words, action, wildcard in wordings:
            for status in statuses:
                self.wordings.setdefault(status, []).append((words, action if self.plan.model else wildcard))

    cdef bint is_worded(self, int status):
        return status in self.wordings

    def connection(self):
        """Return the SocketEvents of one new connection."""
        return self.factory(self).socket_events()

    def failed(self, str reason, bint timed_out=False, bint local=False):
        """Record that a connection could not be opened, and fail the requests that it would have carried.

        Args:
            reason: a sentence without secrets.
            timed_out: the connect took too long.
            local: this node lacked descriptors or ports. The target is not to blame, and no failure of it is counted.
        """
        cdef ClientEvents who
        cdef int failure = FAILED_LOCAL if local else FAILED_CONNECT
        self.opening -= 1
        if not local:
            add64(self.counters.connect_failures, 1)
        # Only the requests that this connection would have carried fail. A request that is retried at once queues
        # behind the others.
        for _ in range(min(len(self.waiters) - self.opening * self.breadth, self.breadth)):
            if not self.waiters:
                return
            who = <ClientEvents>self.next_waiter()
            who.on_failed(failure, reason)
        self.widen()        # another connection may be opened for the remaining waiters

    cdef ClientEvents next_waiter(self):
        return <ClientEvents>self.waiters.popitem(last=False)[0]

    cdef bint full(self) noexcept:
        return self.cap > 0 and self.live + self.opening >= self.cap

    cdef int acquire(self, ClientEvents who):
        cdef PooledConnection connection
        if self.shares:
            return self.acquire_shared(who)
        while self.idle and not who.wants_fresh:
            connection = <PooledConnection>self.idle.pop()
            if not self.take_idle(connection):
                continue        # closed while it was idle
            if connection.is_reusable() and (
                event_time_ns() < connection.idle_since_ns + <uint64_t>TRUSTED_NS or connection.is_silent()
            ):
                connection.assign(who)
                who.on_connection(connection)
                return 1
            connection.close()
        if self.full():
            if len(self.waiters) >= self.cap:
                return -1
            self.waiters[who] = None
            return 0
        self.waiters[who] = None
        if not self.negotiates or self.is_settled or self.opening < UNSETTLED_OPENINGS:
            self.opening += 1
            self.opener.open(self)
        return 0

    cdef int recheck_idle(self) except -1:
        cdef list dead = [item for item in self.idle if not (<PooledConnection>item).is_silent()]
        if dead:
            self.idle = [item for item in self.idle if item not in dead]
            self.close_idle(dead)
        for item in self.shared:
            (<SharedConnection>item).distrust()

    cdef int forget(self, ClientEvents who) except -1:
        self.waiters.pop(who, None)

    cdef bint crowded(self) noexcept:
        return self.cap > 0 and self.opening == 0 and self.live >= self.cap

    cdef bint settle(self, bint shares):
        if not self.negotiates or (self.is_settled and self.shares == shares):
            return False
        self.is_settled = True
        self.shares = shares
        self.breadth = STREAMS if shares else 1
        self.idle_limit_ns = SHARED_IDLE_NS if shares else MODEL_IDLE_NS
        return True

    cdef int ready(self, PooledConnection connection) except -1:
        cdef bint is_news = self.settle(False)
        self.opening -= 1
        self.live += 1
        connection.born_ns = monotonic_ns()
        connection.lifetime_ns = self.age_limit_ns + (connection.born_ns & 0xFFFF) * (self.age_limit_ns >> 18)
        add64(self.counters.connects, 1)
        add64(self.counters.open, 1)
        if self.closed and not self.waiters:
            connection.close()
            return 0
        self.place(connection)
        if is_news:
            self.widen()        # for the waiters that were held back until now

    cdef place(self, PooledConnection connection):
        cdef ClientEvents who
        if self.waiters:
            who = self.next_waiter()
            connection.assign(who)
            who.on_connection(connection)
            return
        connection.idle_since_ns = event_time_ns()
        connection.idle = True
        self.idle_count += 1
        self.idle.append(connection)

    cdef bint take_idle(self, PooledConnection connection):
        """Take a connection out of the idle state; return whether it was idle."""
        if not connection.idle:
            return False
        connection.idle = False
        self.idle_count -= 1
        return True

    cdef int release(self, PooledConnection connection) except -1:
        if (self.closed and not self.waiters) or event_time_ns() - connection.born_ns > connection.lifetime_ns:
            connection.close()
            return 0
        self.place(connection)

    cdef int lost(self, PooledConnection connection, bint was_open) except -1:
        if not was_open:
            return 0
        self.live -= 1
        add64(self.counters.open, <uint64_t>-1)
        self.take_idle(connection)      # ``idle`` lists the connection until acquire() or sweep() removes it
        self.widen()        # a new connection may take its place

    cdef int acquire_shared(self, ClientEvents who):
        cdef SharedConnection connection
        cdef ClientStream stream
        while self.vacancies and not who.wants_fresh:
            connection = <SharedConnection>self.vacancies[-1]
            if connection.room() > 0 and connection.is_quiet():
                stream = connection.take(who)
                who.on_connection(stream)
                return 1
            connection.listed = False
            self.vacancies.pop()
        if self.cap and len(self.waiters) >= self.cap * self.breadth:
            return -1
        self.waiters[who] = None
        self.widen()
        return 0

    cdef int widen(self) except -1:
        while self.opening * self.breadth < len(self.waiters) and not self.full():
            if self.negotiates and not self.is_settled and self.opening >= UNSETTLED_OPENINGS:
                return 0
            self.opening += 1
            self.opener.open(self)

    cdef int on_shared_open(self, SharedConnection connection) except -1:
        self.opening -= 1
        self.settle(True)
        self.live += 1
        connection.born_ns = monotonic_ns()
        connection.lifetime_ns = self.age_limit_ns + (connection.born_ns & 0xFFFF) * (self.age_limit_ns >> 18)
        add64(self.counters.connects, 1)
        add64(self.counters.open, 1)
        self.shared.add(connection)
        self.on_stream_capacity(connection)
        if self.closed:
            connection.close()

    cdef int allow(self, int64_t streams) except -1:
        self.breadth = max(1, <int>min(streams, <int64_t>STREAMS))
        self.widen()

    cdef int on_stream_capacity(self, SharedConnection connection) except -1:
        cdef ClientEvents who
        cdef ClientStream stream
        while self.waiters and connection.room() > 0:
            who = self.next_waiter()
            stream = connection.take(who)
            who.on_connection(stream)
        if not connection.listed and connection.room() > 0:
            connection.listed = True
            self.vacancies.append(connection)

    cdef int on_shared_closed(self, SharedConnection connection) except -1:
        self.live -= 1
        add64(self.counters.open, <uint64_t>-1)
        self.shared.discard(connection)
        self.widen()

    cdef int sweep(self, uint64_t now_ns) except -1:
        """Close connections that have been idle for too long, and abort draining connections that take too long."""
        cdef PooledConnection connection
        cdef Py_ssize_t expired = 0
        for item in list(self.shared):
            (<SharedConnection>item).check_deadlines(now_ns)
        # acquire() removes closed connections from these two lists, but it may not be called for a long time.
        if len(self.vacancies) > len(self.shared):
            self.vacancies = [item for item in self.vacancies if item in self.shared]
        if len(self.idle) > 2 * self.idle_count:
            self.idle = [item for item in self.idle if (<PooledConnection>item).idle]
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
        for item in self.idle:      # the oldest is first
            connection = <PooledConnection>item
            if connection.idle and now_ns < connection.idle_since_ns + self.idle_limit_ns:
                break
            expired += 1
        if expired:
            gone = self.idle[:expired]
            del self.idle[:expired]
            self.close_idle(gone)

    cdef close_idle(self, list connections):
        for item in connections:
            if self.take_idle(<PooledConnection>item):
                (<PooledConnection>item).close()

    cdef int close(self) except -1:
        """Close idle connections now, and busy ones after their exchange. Requests that still wait are served."""
        self.closed = True
        gone = self.idle
        self.idle = []
        self.close_idle(gone)
        for item in list(self.shared):
            (<SharedConnection>item).close()
