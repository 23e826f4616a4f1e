"""Watches the descriptors of one worker with one epoll set.

In a worker the reactor waits for asyncio too (edge/app/reactor_loop.py): asyncio's own descriptors are a set in the
reactor's, and asyncio runs when one of them is ready, a timer is due or something was called. On any other event loop the
reactor's set is a single reader of the loop. Either way a turn handles the events of one batch, and control traffic gets
its share after each. A turn ends early after TURN_NS; descriptors are watched level-triggered, so nothing is lost by that."""

from libc.stdint cimport uint32_t, uint64_t
from native.io.posix cimport epoll_event
from native.io.timer_wheel cimport Wheel

cdef class Deferred:
    """Something that is called once at the end of a turn.

    A subclass overrides ``on_deferred``; tests/native/test_contract.py checks it."""
    cdef bint is_deferred
    cdef void* next_deferred        # while it is deferred; NULL = the last one
    cdef int on_deferred(self) except -1

cdef class Pollable(Deferred):
    """Something with a descriptor. The reactor holds a reference to it while the descriptor is watched.

    A subclass overrides every method but ``on_deferred``; tests/native/test_contract.py checks it."""
    cdef readonly Reactor reactor
    cdef int fd                     # -1 = none
    cdef int slot                   # index in the reactor's table; -1 = not watched
    cdef uint32_t interest          # the events that are watched
    cdef bint is_unflushed          # ``flush`` is due after the present batch
    cdef void* next_unflushed       # while it is due; NULL = the last one
    cdef int on_events(self, uint32_t events) except -1
    cdef int flush(self) except -1
    cdef int on_error(self) except -1        # one of these methods raised an exception, so the state cannot be trusted
    cdef int on_stop(self) except -1         # the reactor stops: close the descriptor

cdef class Ticker:
    """Receives ticks. A subclass overrides ``on_tick``; tests/native/test_contract.py checks it."""
    cdef int on_tick(self, uint64_t now_ns) except -1

cdef struct Slot:
    void* handler                   # a Pollable, with a reference; NULL = free
    uint32_t generation             # distinguishes an event of this handler from one of its predecessor
    int next_free                   # -1 = the last free slot

cdef class Reactor:
    cdef int epoll_fd
    cdef int timer_fd               # -1 = none, because the reactor itself waits for the tick
    cdef bint waits                 # the reactor waits for asyncio; otherwise the loop waits for the reactor
    cdef bint loop_is_ready         # a descriptor of asyncio was ready in this batch
    cdef bint is_called             # asyncio has something to run, or an earlier timer
    cdef readonly object loop
    cdef object turn_callback       # self.turn
    cdef Slot* slots
    cdef int capacity, first_free
    cdef readonly int watched       # descriptors in the table
    cdef void* first_deferred       # a Deferred, with a reference; NULL = none
    cdef void* last_deferred        # valid while there is a first
    cdef void* last_unflushed       # a Pollable, with a reference, and first to be flushed; NULL = none
    cdef readonly Wheel deadlines   # timers of everything on this reactor; advanced by the tick
    cdef Ticker ticker              # None = the reactor itself advances the deadlines
    cdef uint64_t tick_due_ns       # 0 = none
    cdef bint in_turn, is_nudged
    cdef int position, count        # of the batch that is handled
    cdef int batch                  # events that are asked for at once
    cdef bint is_cut_short          # the batch ended before its events, for its time was over
    cdef uint64_t busy_since_ns     # when the first of the turns began that were cut short, up to this one
    cdef bint took_long             # set by a handler whose event may have cost a good part of a turn
    cdef char* scratch              # SCRATCH bytes, for one read; valid until the next one
    cdef Py_ssize_t read_most       # bytes of one read: SCRATCH, or SMALL_READ while memory is scarce
    cdef int watch(self, Pollable handler, uint32_t events) except -1   # OSError
    cdef int change(self, Pollable handler, uint32_t events) except -1
    cdef int unwatch(self, Pollable handler) except -1
    cdef int forget(self, Pollable handler) except -1            # its descriptor is closed next, which ends the watching
    cdef int defer(self, Deferred item) except -1                # idempotent
    cdef int flush_later(self, Pollable handler) except -1       # idempotent
    cdef int nudge(self) except -1                               # request a turn although no descriptor is ready
    cdef int tick_at(self, uint64_t due_ns) except -1            # replaces the former time
    cdef int _turn(self, uint64_t until_ns) except -1
    cdef int _patience(self, uint64_t until_ns) noexcept
    cdef int _dispatch(self, epoll_event* events, uint64_t until_ns) except -1
    cdef int _flush(self) except -1
    cdef int _drop_queues(self) except -1
    cdef int _run_deferred(self) except -1
    cdef int _report(self, object item, object error) except -1

cdef enum:
    SCRATCH = 262144
    SMALL_READ = 32768      # twice a TLS record

