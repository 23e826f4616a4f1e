"""Keeps the upstream connections of one worker to one target.

An attempt gets the connection that became idle last. If none is idle, the attempt waits for a new one."""

from libc.stdint cimport int64_t, uint64_t
from native.codec.sigv4 cimport Signer
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
    cdef bint idle                                  # the connection waits for an exchange; only the pool writes this
    cdef int assign(self, ClientEvents events) except -1     # hand it to an attempt
    cdef bint is_reusable(self)                     # idle, open, and in step with the upstream's framing
    cdef bint is_silent(self)                       # nothing has come that is not read yet, and it is not closed
    cdef bint is_draining(self)                     # the connection only discards the rest of an answer, or is closing
    cdef int close(self) except -1

cdef enum:
    # A connection that was idle for longer may have been closed by now, and is looked at before it is used.
    TRUSTED_NS = 100_000_000

cdef class SharedConnection:
    """A connection that carries many exchanges at once, as its pool sees it.

    A subclass overrides every method; tests/native/test_contract.py checks it."""
    cdef ConnectionPool home
    cdef uint64_t born_ns, lifetime_ns
    cdef bint listed                                # the connection is in ``vacancies``; only the pool writes this
    cdef int room(self)                             # streams that may be opened now
    # False = the connection is idle and something has come on it that is not read yet, such as its end. It calls
    # on_stream_capacity() once that is read.
    cdef bint is_quiet(self)
    cdef int distrust(self) except -1                        # others have died while they were idle
    cdef ClientStream take(self, ClientEvents who)  # open a stream for an attempt; requires room() > 0
    cdef int check_deadlines(self, uint64_t now_ns) except -1    # once a second: close a dead, idle or old connection
    cdef int close(self) except -1                           # take no new streams, and close after the last open stream

cdef class ConnectionPool:
    cdef readonly object plan           # edge.terms.snapshot.Target
    cdef readonly str name
    cdef object opener                  # .open(pool) starts one connection, which ends in protocol() or failed()
    cdef object factory                 # (pool) -> a protocol that is a PooledConnection or a SharedConnection's wire
    cdef PoolCounters counters
    cdef uint64_t[3] own_counts         # used if no shared counters are given
    cdef object counted                 # keeps the memory of the counters mapped
    cdef list idle                      # oldest first; may hold closed connections, whose ``idle`` is False
    cdef readonly int idle_count        # connections that wait for an exchange
    cdef list draining_connections      # connections that discard the rest of an answer, or that are closing
    cdef set shared                     # connections that carry many exchanges
    cdef list vacancies                 # shared connections with room; the last is used first; some may be full by now
    cdef bint shares                    # the connections carry many exchanges at once
    cdef bint negotiates                # ... as far as is known: each connection's handshake decides
    cdef bint is_settled                # the last handshake has told whether its connections are shared
    cdef int breadth                    # exchanges per connection: the lower of our limit and the upstream's last one
    cdef object waiters                 # OrderedDict of ClientEvents, first come first served
    cdef readonly int live              # open connections
    cdef readonly int opening
    cdef readonly int cap               # maximum number of connections; 0 = no limit
    cdef public uint64_t connect_ns     # timeout of a connect
    cdef public uint64_t idle_limit_ns, age_limit_ns
    cdef public uint64_t silence_ns, pong_ns            # shared connections: silence before a ping; timeout of the ping
    cdef public uint64_t drain_limit_ns, tail_ns        # timeouts of an unwanted answer and of a tunnel's last bytes
    cdef bint closed
    # what every request to the target carries, in bytes
    cdef readonly bytes authority, base_path, model
    cdef readonly bytes api_version     # of Azure's paths; None = they have none
    cdef readonly str dialect
    cdef readonly list fields
    cdef Signer signer                  # of every request; None = requests are not signed
    cdef tuple told                     # the x-edge-target field of answers to clients
    cdef tuple secrets                  # the credentials in ``fields``, which must never reach a client
    cdef readonly bytes verdicts        # 600 action codes, indexed by status
    cdef readonly tuple hints
    cdef readonly dict wordings         # status -> ((words in lower case, action), ...); see edge.terms.snapshot
    cdef bint is_worded(self, int status)               # there are wordings for this status
    cdef readonly bint is_service
    cdef bint is_region                 # the target is another region's edge
    cdef int acquire(self, ClientEvents who)        # 1 = ``who`` has a connection, 0 = it waits, -1 = the queue is full
    cdef int acquire_shared(self, ClientEvents who)
    # One has died while it was idle: close the others on which something has come, or that are dead.
    cdef int recheck_idle(self) except -1
    cdef int forget(self, ClientEvents who) except -1        # remove a waiter
    cdef ClientEvents next_waiter(self)
    cdef bint full(self) noexcept                   # no further connection may be opened
    cdef bint crowded(self) noexcept                # full, and no connect is under way: waiters need a release
    cdef bint settle(self, bint shares)             # a handshake has told it; True = that is news
    cdef int ready(self, PooledConnection connection) except -1      # the connection is open
    cdef int release(self, PooledConnection connection) except -1  # the exchange is over; it is reusable
    cdef int lost(self, PooledConnection connection, bint was_open) except -1
    cdef place(self, PooledConnection connection)           # give the connection to a waiter, or keep it idle
    cdef bint take_idle(self, PooledConnection connection)
    cdef close_idle(self, list connections)
    cdef int on_shared_open(self, SharedConnection connection) except -1
    cdef int allow(self, int64_t streams) except -1                  # the upstream's SETTINGS_MAX_CONCURRENT_STREAMS
    cdef int on_stream_capacity(self, SharedConnection connection) except -1  # there is room for streams again
    cdef int on_shared_closed(self, SharedConnection connection) except -1
    cdef int widen(self) except -1                                   # open as many connections as the waiters need
    cdef int sweep(self, uint64_t now_ns) except -1
    cdef int close(self) except -1
