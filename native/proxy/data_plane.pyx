from libc.stdint cimport uint64_t
from native.balance.balancer cimport Target
from native.balance.queue cimport Queue, Waiter
from native.codec.grpc_web cimport NOT_WEB, web_kind
from native.codec.head cimport Head
from native.http.connection_pool cimport ConnectionPool
from native.http.grpc_web cimport GrpcWebStream, translate_web
from native.http.listen_policy cimport ListenPolicy
from native.http.stream cimport ServerEvents, ServerStream
from native.io.atomics cimport add64, store64
from native.io.clock cimport monotonic_ns, wall_ns
from native.io.descriptors cimport client_limit
from native.io.reactor cimport Reactor, Ticker
from native.io.timer_wheel cimport Wheel
from native.proxy.detached cimport DetachedAttempt
from native.proxy.exchange cimport Alarm, Exchange
from native.proxy.live_attempts cimport LiveAttempts
from native.proxy.request cimport Request
from native.proxy.response cimport new_response
from native.proxy.responses_socket cimport ResponsesSocket, open_socket
from native.proxy.router cimport Route, Router
from native.proxy.shadow cimport ShadowCopy, ShadowStream, start_copy
from native.proxy.socket_request cimport SocketRequest
from native.proxy.steps cimport CLOSED
from native.state.shared_state cimport (
    CANCELLED, T_CONNECTS, T_CONNECT_FAILURES, SharedState, W_ACCEPTED, W_BUFFERED, W_BYTES_IN, W_BYTES_OUT,
    W_CONNECTIONS, W_EVICTED, W_MALFORMED, W_RECORDED, W_TURNED_AWAY, W_UNRECORDED, W_UPSTREAMS, W_UPSTREAMS_IDLE, WorkerRec,
)

from native.http.http1_client import Http1Client
from native.http.http2_client import Http2Client
from native.http.protocol_detect import AcceptedConnections
from native.http.upstream_detect import UpstreamDetect
from native.io.listener import Listener
from native.proxy.free_lists import keep_freed_objects

from msgspec import structs

# What drives a new connection, by the protocol of its target.
cdef dict CLIENTS = {"http1": Http1Client, "h2c": Http2Client, "h2": Http2Client, "alpn": UpstreamDetect}
# Of clients' connections: idle ones, heads, stalls.
cdef uint64_t COARSE_TICK_NS = 250_000_000
cdef uint64_t FINE_TICK_NS = 10_000_000
cdef uint64_t IDLE_TICK_NS = 250_000_000
# If a tick is this late, the event loop or the machine stood still.
cdef uint64_t LATE_NS = 100_000_000
cdef uint64_t CATCH_UP_NS = 1_000_000
cdef uint64_t SWEEP_NS = 1_000_000_000
# Records are sent this often, or as soon as this many wait. Encoding them takes a tenth of a millisecond, and one
# message costs control as much as tens of records.
cdef uint64_t FLUSH_NS = 100_000_000
cdef Py_ssize_t FLUSH_AT = 128
cdef Py_ssize_t FLUSH_MOST = 512

keep_freed_objects()


cdef bint is_the_same(object before, object plan):
    """Return whether a target's connections go on: nothing has changed, or only a credential that is renewed."""
    return before == plan or (
        plan.renewed != "" and structs.replace(before, fields=plan.fields, signing=plan.signing) == plan
    )


cdef class DataPlaneTick(Ticker):
    """Hands the reactor's tick to the data plane."""
    cdef DataPlane owner

    cdef int on_tick(self, uint64_t now_ns) except -1:
        self.owner.tick()


cdef class DataPlane(Acceptor):
    """A worker's data path: :meth:`start` it, then :meth:`listen`.

    Args:
        shared_state: the node's shared state.
        worker: this worker's column.
        router: the compiled Snapshot to begin with.
        opener: ``open(pool)`` starts one upstream connection.
        hooks: native.proxy.hooks.Hooks.
    """

    def __init__(self, SharedState shared_state not None, int worker, Router router not None, *, opener, hooks):
        cdef WorkerRec* meter = shared_state.worker(worker)
        self.runtime = Runtime(shared_state, worker, hooks)
        self.runtime.acceptor = self
        self.runtime.on_place_free = self._place_free
        self.runtime.on_active = self._speed_up
        self.opener = opener
        self.counters.accepted = &meter.count[<int>W_ACCEPTED]
        self.counters.open = &meter.count[<int>W_CONNECTIONS]
        self.counters.evicted = &meter.count[<int>W_EVICTED]
        self.counters.turned_away = &meter.count[<int>W_TURNED_AWAY]
        self.counters.malformed = &meter.count[<int>W_MALFORMED]
        self.counters.bytes_in = &meter.count[<int>W_BYTES_IN]
        self.counters.bytes_out = &meter.count[<int>W_BYTES_OUT]
        self.counters.buffered = &meter.count[<int>W_BUFFERED]
        self.coarse = Wheel(monotonic_ns(), COARSE_TICK_NS, 512)
        self.open_connections = set()
        self.pools = {}
        self.swap(router)

    def __repr__(self):
        return (
            f"<DataPlane worker={self.runtime.worker} active={self.runtime.active} "
            f"connections={len(self.open_connections)}>"
        )

    @property
    def active(self):
        """Exchanges in flight."""
        return self.runtime.active

    @property
    def connections(self):
        """Client connections open now."""
        return len(self.open_connections)

    @property
    def router(self):
        """The compiled Snapshot that new requests go by."""
        return self.runtime.router

    def listen(self, sock, int backlog, plan, tls=None):
        """Accept connections on a bound socket, which belongs to the Listener that is returned.

        Args:
            sock: a bound TCP socket that does not listen yet.
            backlog: connections that may wait to be accepted.
            plan: the edge.terms.snapshot.Listener, for what it demands of its clients.
            tls: the TlsContext of its connections; None = in the clear.

        Raises:
            OSError: the socket cannot listen.
        """
        return Listener(self.reactor, sock, backlog, AcceptedConnections(self, ListenPolicy(plan)), tls)

    cdef ServerEvents open(self, ServerStream stream, Head head):
        cdef Exchange exchange = Exchange.__new__(Exchange)
        cdef GrpcWebStream web
        cdef int kind = NOT_WEB if head.content_type is None else web_kind(head.content_type)
        if kind != NOT_WEB and self.takes_web(head):
            web = translate_web(stream, head, kind, exchange)
            return self.open_web(web, stream.events, exchange)
        stream.events = exchange
        exchange.receive(self.runtime, stream, head)
        if stream.upgrade_requested and isinstance(exchange.request, SocketRequest):
            return open_socket(exchange)
        return None if exchange.state == <int>CLOSED else exchange

    cdef bint takes_web(self, Head head):
        """Return whether a request of gRPC-Web is translated. A service that speaks HTTP/1.1 cannot answer calls of gRPC."""
        cdef Route route = self.runtime.router.service(head.host, head.path)
        return head.method == b"POST" and (
            route is None or not route.pool.size or route.pool.target_at(0).plan.protocol != "http1"
        )

    cdef ServerEvents open_web(self, GrpcWebStream stream, ServerEvents events, Exchange exchange):
        """Open an exchange for a call of gRPC-Web; ``events`` passes it what the client does."""
        exchange.receive(self.runtime, stream, stream.head)
        if exchange.state == <int>CLOSED:
            return None
        stream.admitted()
        return events

    cdef tuple refusal(self, int status, str reason):
        cdef bytes identifier = self.runtime.next_id()
        reply = self.runtime.replies.refusal(status, reason)
        return [
            *reply.fields, (b"x-edge-request-id", identifier), (b"x-request-id", identifier),
            self.runtime.date_field(monotonic_ns()),
        ], reply.content

    def note_refusal(self, list fields not None, peer, str scheme, int version, int status, str reason, Py_ssize_t size):
        """Record a request that could not be read, if the access log has a line for each.

        Args:
            fields: of the response, from refusal().
            peer: the client's address and port; None: unknown.
            size: of the response's content.
        """
        if self.runtime.sink is None or not self.runtime.recorder.logs_all:
            return
        record = self.runtime.sink.exchange(
            request_id=dict(fields)[b"x-edge-request-id"].decode(), trace_id="", span_id="", parent_span_id="", link="",
            sampled=False, kept="logged", worker=self.runtime.worker, route="", kind="", method="", http_version=version,
            scheme=scheme, path="", operation="", grpc=False, model="", status=status, grpc_status=-1, stream=False, key="",
            priority="", started_ns=wall_ns(), duration_ns=0, first_ns=-1, prompt_tokens=-1, output_tokens=-1, cost_nano=0,
            region=self.runtime.region.decode(), hops=0, queue_ns=0, cache="", attempts=(),
            client=str(peer[0]) if isinstance(peer, tuple) else "", sent_bytes=size, refusal=reason,
        )
        if not self.runtime.recorder.add(record):
            add64(&self.runtime.meter.count[<int>W_UNRECORDED], 1)

    # --- Snapshots ---------------------------------------------------------------------------------------------------
    def swap(self, Router router not None):
        """Take a new Snapshot: exchanges in flight keep theirs, pools of unchanged targets stay open."""
        limits = router.snapshot.limits
        self.pools = self._pools_for(router)
        self.runtime.configure(router)
        self.header_bytes = limits.header_bytes
        self.header_count = limits.header_count
        self.idle_ns = limits.idle_ns
        self.header_timeout_ns = limits.header_timeout_ns
        self.body_timeout_ns = limits.body_timeout_ns
        self.client_idle_ns = limits.client_idle_ns
        self.buffered_limit = limits.max_buffered
        self.set_patience()
        self.connection_limit = limits.connections if limits.connections else client_limit()

    def _pools_for(self, Router router):
        cdef dict pools = {}
        cdef list leaving = []
        cdef ConnectionPool pool
        cdef Target target
        snapshot = router.snapshot
        for item in router.targets:
            target = <Target>item
            kept = self.pools.pop(target.id, None)
            hints = snapshot.hints.get(target.plan.outcomes, ())
            if kept is not None and is_the_same((<ConnectionPool>kept).plan, target.plan):
                pool = <ConnectionPool>kept
                if pool.plan != target.plan:
                    pool.renew(target.plan)
                pool.verdicts = snapshot.outcomes[target.plan.outcomes]
                pool.hints = hints
            else:
                if kept is not None:
                    leaving.append(kept)
                pool = ConnectionPool(
                    target.id, target.plan, self.opener, self._dial, snapshot.outcomes[target.plan.outcomes], hints
                )
                pool.counted = self.runtime.shared_state
                pool.counters.open = &self.runtime.meter.count[<int>W_UPSTREAMS]
                pool.counters.connects = &target.rec.count[<int>T_CONNECTS]
                pool.counters.connect_failures = &target.rec.count[<int>T_CONNECT_FAILURES]
            pool.connect_ns = 0
            pool.learn_words(snapshot.wordings)
            target.pool = pool
            pools[target.id] = pool
        leaving.extend(self.pools.values())
        for gone in leaving:
            (<ConnectionPool>gone).close()
            if (<ConnectionPool>gone).live or (<ConnectionPool>gone).opening:
                pools[gone] = gone      # kept without a target's name, and swept until its last exchange is over
        for route in snapshot.routes:
            for member in route.members:
                pool = <ConnectionPool>pools[snapshot.targets[member.target].id]
                pool.connect_ns = max(pool.connect_ns, <uint64_t>route.timeouts.connect_ns)
        return pools

    def _dial(self, pool):
        return CLIENTS[pool.plan.protocol](pool, self.header_bytes, self.header_count)

    # --- life --------------------------------------------------------------------------------------------------------
    def start(self, Reactor reactor not None):
        """Run on ``reactor`` until :meth:`stop`."""
        cdef DataPlaneTick ticker = DataPlaneTick.__new__(DataPlaneTick)
        ticker.owner = self
        self.reactor = reactor
        self.runtime.deadlines = reactor.deadlines
        self.runtime.quick = False
        reactor.ticker = ticker
        self.tick_in(IDLE_TICK_NS)

    def stop(self):
        """Stop the tick and end every connection, whatever runs on it."""
        if self.reactor is not None:
            self.reactor.ticker = None
        for connection in list(self.open_connections):
            connection.kill()
        for owner in list(self.runtime.detached.values()):
            (<DetachedAttempt>owner).attempt.end(CANCELLED, "this edge is stopping")
        for pool in self.pools.values():
            (<ConnectionPool>pool).close()
        while self.runtime.recorder.pending:
            self.flush(monotonic_ns())
        self.reactor = None

    def leave(self):
        """Close each HTTP/1.1 connection after its next answer; idle connections stay open. Idempotent."""
        self.draining = True

    def drain(self):
        """Tell keep-alive clients to close, close idle ones; exchanges in flight finish. Idempotent."""
        self.draining = True
        for connection in list(self.open_connections):
            connection.retire()
        for socket in list(self.runtime.sockets):
            (<ResponsesSocket>socket).retire()
        self.end_copies()

    def cut(self):
        """End every exchange in flight with an error, because the node does not wait any longer."""
        cdef uint64_t now = monotonic_ns()
        cdef Exchange exchange
        self.runtime.cutting = True
        for timer in self.runtime.deadlines.standing():
            exchange = (<Alarm>timer).exchange if isinstance(timer, Alarm) else None
            if exchange is not None:
                exchange.cut_off(now)

    # --- the tick ----------------------------------------------------------------------------------------------------
    cdef int tick(self) except -1:
        cdef uint64_t now = monotonic_ns()
        if now > self.due_ns + LATE_NS and not self.late:
            # The loop runs its timers before it reads. Answers that came while it stood still would count as missing,
            # and all healthy targets would seem to fail at once.
            self.late = True
            self.tick_in(CATCH_UP_NS)
            return 0
        self.late = False
        self.runtime.quick = self.runtime.active > 0 or len(self.runtime.detached) > 0
        self.tick_in(FINE_TICK_NS if self.runtime.quick else IDLE_TICK_NS)
        self.work(now)

    cdef int work(self, uint64_t now) except -1:
        cdef Py_ssize_t idle = 0
        self.runtime.deadlines.advance(now)
        if self.runtime.copies:
            self.begin_copies(now)
        if self.runtime.crowded:
            self.serve(now)     # other workers free places too
        self.coarse.advance(now)
        if self.runtime.recorder.pending and (
            len(self.runtime.recorder.pending) >= FLUSH_AT or now - self.flushed_ns >= FLUSH_NS
        ):
            self.flush(now)
        if now - self.swept_ns > SWEEP_NS:
            self.swept_ns = now
            self.runtime.update_month(now)
            for pool in self.pools.values():
                (<ConnectionPool>pool).sweep(now)
                idle += (<ConnectionPool>pool).idle_count
            store64(&self.runtime.meter.count[<int>W_UPSTREAMS_IDLE], <uint64_t>idle)

    cdef int begin_copies(self, uint64_t now) except -1:
        """Begin the copies of requests that have been sent since the last tick, and end those whose answer is too long."""
        cdef list due = self.runtime.copies
        cdef ServerEvents events
        self.runtime.copies = []
        for item in due:
            if isinstance(item, ShadowCopy):
                self.begin_copy(<ShadowCopy>item, now)
                continue
            events = (<ShadowStream>item).events
            if events is not None:
                events.on_client_gone()

    cdef int begin_copy(self, ShadowCopy copy, uint64_t now) except -1:
        cdef Exchange exchange = Exchange.__new__(Exchange)
        cdef Request request = copy.request
        start_copy(copy, now)
        if self.draining or self.runtime.cutting:
            request.release()
            return 0
        exchange.runtime = self.runtime
        exchange.stream = request.stream
        exchange.request = request
        exchange.response = new_response(request, request.stream)
        exchange.live = LiveAttempts.__new__(LiveAttempts)
        exchange.live.copy = copy
        request.stream.events = exchange
        exchange._admitted()

    cdef int end_copies(self) except -1:
        """End the copies in flight: the node drains, and waits for callers alone."""
        cdef Exchange exchange
        for timer in self.runtime.deadlines.standing():
            exchange = (<Alarm>timer).exchange if isinstance(timer, Alarm) else None
            if exchange is not None and exchange.request.is_copy:
                exchange.on_client_gone()

    cdef flush(self, uint64_t now):
        cdef list taken = self.runtime.recorder.take(FLUSH_MOST)
        self.flushed_ns = now
        if taken is not None:
            add64(
                &self.runtime.meter.count[<int>(W_RECORDED if self.runtime.sink.take(taken) else W_UNRECORDED)],
                len(taken),
            )

    def _place_free(self):
        # Not now: the exchange that frees the place is still running, and so may be its caller.
        if self.reactor is None:
            self.runtime.nudged = False
        else:
            self.reactor.loop.call_soon(self._serve_soon)

    def _serve_soon(self):
        self.runtime.nudged = False
        if self.reactor is not None:
            self.serve(monotonic_ns())

    cdef serve(self, uint64_t now_ns):
        cdef Queue queue
        cdef Waiter waiter
        cdef Exchange exchange
        for route in list(self.runtime.crowded):
            queue = (<Route>route).queue
            while True:
                waiter = queue.first()
                if waiter is None:
                    break
                exchange = <Exchange>waiter.owner       # a reference: the choice may end with the exchange
                exchange.choose()
                if waiter.owner is not None:
                    break       # there is no place for the first, so there is none for those behind
        self.runtime.crowded = [route for route in self.runtime.crowded if (<Route>route).queue.count]

    cdef int tick_in(self, uint64_t delay_ns) except -1:
        self.due_ns = monotonic_ns() + delay_ns
        self.reactor.tick_at(self.due_ns)

    def _speed_up(self):
        """An exchange has begun: tick at full pace."""
        if self.reactor is not None:
            self.runtime.quick = True
            self.tick_in(FINE_TICK_NS)
