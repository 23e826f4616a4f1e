"""Keeps the upstream connections of one worker to one target.

An attempt gets the connection that became idle last, else it waits for a new one."""

from libc.stdint cimport int64_t, uint64_t
from native.http.stream cimport ClientEvents, ClientStream

cdef struct PoolCounters:       # where upstream connections are counted, in shared memory
    uint64_t* open              # connections now, of all pools of the worker
    uint64_t* connects
    uint64_t* connect_failures

cdef class PooledConnection(ClientStream):
    """A connection that carries one exchange at a time, as its pool sees it.

    A subclass overrides every method, those of ClientStream too; tests/native/test_contract.py checks it."""
    cdef ConnectionPool home
    cdef uint64_t born_ns, idle_since_ns, lifetime_ns
    cdef uint64_t cut_ns                            # when a draining connection is cut
    cdef bint idle                                  # it waits for an exchange; only the pool writes this
    cdef void assign(self, ClientEvents events)     # hand it to an attempt
    cdef bint is_reusable(self)                     # idle, open, and its framing beyond doubt
    cdef bint is_draining(self)                     # it reads an answer only to drop it, or is closing
    cdef void close(self)

cdef class SharedConnection:
    """A connection that carries many exchanges at once, as its pool sees it.

    A subclass overrides every method; tests/native/test_contract.py checks it."""
    cdef ConnectionPool home
    cdef uint64_t born_ns, lifetime_ns
    cdef bint listed                                # it is among the pool's vacancies; only the pool writes this
    cdef int room(self)                             # streams that may be opened now
    cdef ClientStream take(self, ClientEvents who)  # open a stream for an attempt; only where there is room
    cdef void check_deadlines(self, uint64_t now_ns)    # once a second: end it if it is dead, idle or old
    cdef void close(self)                           # no new streams; it ends when those it has are over

cdef class ConnectionPool:
    cdef readonly object plan           # edge.terms.snapshot.Target
    cdef readonly str name
    cdef object opener                  # .open(pool) starts one connection, which ends in protocol() or failed()
    cdef object factory                 # (pool) -> a protocol that is a PooledConnection or a SharedConnection's wire
    cdef PoolCounters counters
    cdef object counted                 # keeps the memory of the counters mapped
    cdef list idle                      # oldest first; may hold closed ones, whose ``idle`` is False
    cdef readonly int idle_count        # connections that wait for an exchange
    cdef list draining_connections      # connections that read an answer only to drop it, or that are closing
    cdef set shared                     # connections that carry many exchanges
    cdef list vacancies                 # of these, the ones with room; the last is used first; may hold full ones
    cdef bint shares                    # its connections carry many exchanges at once
    cdef int breadth                    # how many: at most ours, at most what the last peer to say so allowed
    cdef object waiters                 # OrderedDict of ClientEvents, first come first served
    cdef readonly int live              # connections open
    cdef readonly int opening
    cdef readonly int cap               # most connections; 0 = no bound
    cdef public uint64_t connect_ns     # deadline of one connect
    cdef public uint64_t idle_limit_ns, age_limit_ns
    cdef public uint64_t silence_ns, pong_ns            # shared ones: a ping after that silence, its answer within that
    cdef public uint64_t drain_limit_ns, tail_ns        # for an unwanted answer, and for a tunnel's last bytes
    cdef bint closed
    # how to speak to the target, in bytes
    cdef readonly bytes authority, base_path, model
    cdef readonly list fields
    cdef tuple told                     # the target's name, as answers carry it
    cdef tuple secrets                  # the parts of ``fields`` that nobody but the target may read
    cdef readonly bytes verdicts        # an action per status, 600 of them
    cdef readonly tuple hints
    cdef readonly bint is_service
    cdef bint is_region                 # another region's edge
    cdef int acquire(self, ClientEvents who)        # 1 given at once, 0 waits, -1 there is no place
    cdef int acquire_shared(self, ClientEvents who)
    cdef void forget(self, ClientEvents who)        # it no longer waits
    cdef ClientEvents next_waiter(self)
    cdef bint full(self) noexcept                   # no further connection may be opened
    cdef bint crowded(self) noexcept                # full, and none is being opened: a waiter waits for others to end
    cdef void ready(self, PooledConnection connection)      # newly open
    cdef void release(self, PooledConnection connection)    # its exchange is over and it is clean
    cdef void lost(self, PooledConnection connection, bint was_open)
    cdef place(self, PooledConnection connection)           # give it to a waiter, or keep it idle
    cdef bint take_idle(self, PooledConnection connection)
    cdef close_idle(self, list connections)
    cdef void on_shared_open(self, SharedConnection connection)
    cdef void allow(self, int64_t streams)                  # the peer says how many streams it takes
    cdef void on_stream_capacity(self, SharedConnection connection)     # it has room for streams again
    cdef void on_shared_closed(self, SharedConnection connection)
    cdef void widen(self)                                   # open as many connections as the waiters need
    cdef void sweep(self, uint64_t now_ns)
    cdef void close(self)
