"""Runs exchanges in virtual time and without sockets.

Everything between the two wires is the real data path: admission, choice, attempts, breaker, queue, capacity, budgets
and settlement. In place of the wires stand Call (a client) and VirtualConnection (an upstream over HTTP/1.1), which a
model in Python drives. Deadlines are advanced in the same ticks of 10 ms as in a worker under load.
"""

from libc.stdint cimport int64_t, uint64_t
from native.codec.head cimport Head
from native.codec.head_reader cimport HeadReader
from native.codec.request_head cimport take_request
from native.codec.response_head cimport take_response
from native.http.connection_pool cimport ConnectionPool, PooledConnection
from native.http.listen_policy cimport ListenPolicy
from native.http.stream cimport FAILED_RESET, FAILED_TRUNCATED, ClientEvents, ServerEvents, ServerStream
from native.io.clock cimport move_virtual
from native.proxy.data_plane cimport DataPlane

cdef uint64_t TICK_NS = 10_000_000
# Limits on the heads that a model writes.
cdef Py_ssize_t HEAD_BYTES = 65536
cdef int HEAD_COUNT = 100


cdef HeadReader read_fields(list fields):
    """Return a reader with these fields; ValueError: one of them is refused."""
    cdef HeadReader reader = HeadReader(HEAD_BYTES, HEAD_COUNT)
    for name, value in fields:
        if reader.add(name, value) < 0:
            raise ValueError(f"a drill cannot write this head: {reader.fault}")
    return reader


cdef class Call(ServerStream):
    """One request of a client, and what the client sees of the answer."""

    def __repr__(self):
        return f"<Call status={self.status} complete={self.complete}>"

    cdef int send_interim(self, int status) except -1:
        return 0

    cdef int send_head(self, int status, list fields, int64_t length) except -1:
        self.status = status
        self.fields = fields

    cdef int send_data(self, bytes data) except -1:
        if not data:
            return 0
        if data[0] != c":":
            if not self.first_ns:
                self.first_ns = self.wire.now_ns
            self.last = data

    cdef int send_end(self, list trailers) except -1:
        self.complete = not self.ended_ns
        self.over()

    cdef int cut(self) except -1:
        self.over()

    cdef int over(self) except -1:
        if not self.ended_ns:
            self.events = None
            self.ended_ns = self.wire.now_ns
            self.wire.over.append(self)

    cdef int pause(self) except -1:
        return 0

    cdef int resume(self) except -1:
        return 0

    cdef bint congested(self):
        return False

    cdef object peer(self):
        return "127.0.0.1", 1

    def leave(self):
        """Let the client go: nothing of the answer reaches it any more."""
        cdef ServerEvents events = self.events
        self.over()
        if events is not None:
            events.on_client_gone()
        self.wire.settle()


cdef class VirtualConnection(PooledConnection):
    """An upstream connection, which carries one request at a time."""

    def __repr__(self):
        return f"<VirtualConnection {self.home.name} busy={self.busy}>"

    @property
    def target(self):
        """The id of the target that it leads to."""
        return self.home.name

    cdef int assign(self, ClientEvents events) except -1:
        self.events = events
        self.busy = True
        self.heard = False
        self.parts = []
        self.owner = None

    cdef bint is_reusable(self):
        return self.alive and not self.busy

    cdef bint is_silent(self):
        return True

    cdef bint is_draining(self):
        return False

    cdef int close(self) except -1:
        self.drop(False)

    cdef int send_request(self, bytes method, bytes target, bytes authority, list fields, int64_t length) except -1:
        self.path = target

    cdef int send_data(self, bytes data) except -1:
        if data:
            self.parts.append(data)

    cdef int send_end(self, list trailers) except -1:
        self.body = b"".join(self.parts)
        self.wire.called = True
        self.wire.model.asked(self)

    cdef int cancel(self) except -1:
        self.drop(True)

    cdef int discard(self) except -1:
        self.drop(True)

    cdef int drop(self, bint told) except -1:
        """End the connection; ``told``: the request on it is abandoned, which the model is told."""
        cdef bint busy = self.busy
        self.events = None
        self.busy = False
        if self.alive:
            self.alive = False
            self.wire.dead.append(self)
        if told and busy:
            self.wire.called = True
            self.wire.model.left(self)

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

    def answer(self, int status, list fields not None):
        """Send the head of the answer; no effect if the request was abandoned.

        Raises:
            ValueError: the head is none that an upstream may send.
        """
        cdef ClientEvents events = self.events
        cdef HeadReader reader
        cdef Head head
        if events is None:
            return
        reader = read_fields(fields)
        head = take_response(reader, status, 11)
        if head is None:
            raise ValueError(f"a drill cannot write this head: {reader.fault}")
        self.heard = True
        events.on_head(head)
        self.wire.settle()

    def send(self, bytes data not None):
        """Send a part of the content; no effect if the request was abandoned."""
        cdef ClientEvents events = self.events
        if events is not None:
            events.on_data(data)
            self.wire.settle()

    def finish(self):
        """End the answer, which is complete; no effect if the request was abandoned."""
        cdef ClientEvents events = self.events
        if events is None:
            return
        self.events = None
        self.busy = False
        self.reused = True
        self.home.release(self)
        events.on_end(None)
        self.wire.settle()

    def reset(self, str detail not None):
        """Break the connection; the request on it, if there is one, fails."""
        cdef ClientEvents events = self.events
        # as of Http1Client: a connection that has been used before may have died while it was idle
        self.connection_ended = self.reused and not self.heard and events is not None
        self.drop(False)
        if events is not None:
            events.on_failed(FAILED_TRUNCATED if self.heard else FAILED_RESET, detail)
        self.wire.settle()


cdef class VirtualWire:
    """One data plane, its clock, and the model of everything outside.

    Args:
        plane: the data plane, which is not started; its opener is the model's.
        model: see virtual_wire.pyi.
        listener: the edge.terms.snapshot.Listener that the clients ask at.
        now_ns: the virtual time, to which the clock of this process has been set.
        wall_ns: the wall clock at that time, in nanoseconds since 1970.
        seed: of the data plane's chance.
    """

    def __init__(self, DataPlane plane not None, model, listener, uint64_t now_ns, uint64_t wall_ns, uint64_t seed):
        self.plane = plane
        self.model = model
        self.policy = ListenPolicy(listener)
        self.wall_ns = <int64_t>(wall_ns - now_ns)
        self.tick_ns = now_ns + TICK_NS
        self.dead = []
        self.over = []
        plane.runtime.on_place_free = self._place_freed
        plane.runtime.chance = seed * 2 + 1
        plane.runtime.prefix = b"%012x" % (seed & 0xFFFFFFFFFFFF)
        self.move(now_ns)

    def __repr__(self):
        return f"<VirtualWire {self.now_ns} ns>"

    cdef void move(self, uint64_t now_ns) noexcept:
        self.now_ns = now_ns
        move_virtual(now_ns, self.wall_ns)

    def call(self, bytes path not None, list fields not None, bytes body not None, uint64_t number):
        """Let a client ask, by POST, and return its Call, which has this number.

        Raises:
            ValueError: the head is none that a client may send.
        """
        cdef Call call = Call.__new__(Call)
        cdef HeadReader reader = read_fields(fields)
        cdef Head head = take_request(reader, b"POST", path, 11)
        cdef ServerEvents events
        if head is None:
            raise ValueError(f"a drill cannot write this head: {reader.fault}")
        call.wire = self
        call.number = number
        call.scheme = "http"
        call.policy = self.policy
        call.begun_ns = self.now_ns
        events = self.plane.open(call, head)
        if events is not None:
            events.on_request_data(body)
            events = call.events        # the exchange may be over
        if events is not None:
            events.on_request_end(None)
        self.settle()
        return call

    def connected(self, ConnectionPool pool not None):
        """Give the pool a connection that it has asked its opener for, and return it."""
        cdef VirtualConnection connection = VirtualConnection.__new__(VirtualConnection)
        connection.home = pool
        connection.wire = self
        connection.alive = True
        pool.ready(connection)
        self.settle()
        return connection

    def refused(self, ConnectionPool pool not None, str reason not None):
        """Tell the pool that a connection could not be opened."""
        pool.failed(reason)
        self.settle()

    def advance(self, uint64_t until_ns):
        """Let time pass until ``until_ns``; False: the model was called before, and may have scheduled something."""
        self.called = False
        while self.tick_ns <= until_ns:
            self.move(self.tick_ns)
            self.tick_ns += TICK_NS
            self.plane.work(self.now_ns)
            self.settle()
            if self.called:
                return False
        self.move(until_ns)
        return True

    def _place_freed(self):
        self.freed = True

    cdef settle(self):
        """Do what a worker does after a batch of events: close, tell of what is over, and serve those that wait."""
        cdef VirtualConnection connection
        while self.dead or self.over or self.freed:
            if self.dead:
                connection = <VirtualConnection>self.dead.pop()
                connection.home.lost(connection, True)
            elif self.over:
                self.called = True
                self.model.ended(self.over.pop(0))
            else:
                self.freed = self.plane.runtime.nudged = False
                self.plane.serve(self.now_ns)
