"""Runs one epoll set, and waits for asyncio with it or is waited for by the event loop.

A batch of events is handled without a return to Python for each. What the batch has queued is written after it, back to
back: a peer that is woken once takes all of it, where a write after each event would wake it as often. Then runs what was
deferred, and the tick if it is due. Deadlines are therefore checked after what has come was read, which matters when a
machine stood still for a moment.
"""

from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.errno cimport errno
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from native.io.clock cimport begin_event, end_events, monotonic_ns, note_late
from native.io.posix cimport (
    EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLIN, TFD_CLOEXEC, TFD_NONBLOCK, close, epoll_create1,
    epoll_ctl, epoll_event, epoll_wait, timerfd_create, timerfd_settime,
)
from native.io.timer_wheel cimport Wheel
from posix.time cimport CLOCK_MONOTONIC, itimerspec

from os import strerror

cdef enum:
    BATCH = 256
    # The slot numbers of the timer and of asyncio's own epoll set, which are in no table.
    TIMER = 0xFFFFFFFF
    ASYNCIO = 0xFFFFFFFE
    FIRST_CAPACITY = 64
    # A deferred item may defer others; after this many rounds the event loop runs first.
    ROUNDS = 8

cdef uint64_t TICK_NS = 10_000_000
# A turn ends after this time; the remaining events are reported again in the next turn.
cdef uint64_t TURN_NS = 2_000_000
cdef uint64_t NEVER_NS = <uint64_t>-1
# A tick or an event that waited so long may make an answer look slow (native/balance/delay takes less for noise).
cdef uint64_t LATE_NS = 50_000_000
# The longest wait, below the greatest int of milliseconds.
cdef uint64_t LONGEST_NS = 3_600_000_000_000


cdef class Deferred:
    cdef int on_deferred(self) except -1:
        return 0


cdef class Pollable(Deferred):
    def __cinit__(self):
        self.fd = -1
        self.slot = -1

    cdef int on_events(self, uint32_t events) except -1:
        return 0

    cdef int flush(self) except -1:
        return 0

    cdef int on_error(self) except -1:
        return 0

    cdef int on_stop(self) except -1:
        return 0


cdef class Ticker:
    cdef int on_tick(self, uint64_t now_ns) except -1:
        return 0


cdef class Reactor:
    """The descriptors of one worker.

    Args:
        loop: the running loop. An edge.app.reactor_loop.ReactorLoop is waited for; any other one hosts the reactor.

    Raises:
        OSError: the kernel has no descriptor left for the epoll set.
        RuntimeError: another reactor waits for the loop.
    """

    def __cinit__(self):
        self.epoll_fd = -1
        self.timer_fd = -1
        self.first_free = -1
        self.batch = BATCH

    def __init__(self, loop):
        cdef epoll_event event
        cdef int other_fd
        self.loop = loop
        self.scratch = <char*>malloc(SCRATCH)
        self.read_most = SCRATCH
        if self.scratch == NULL:
            raise MemoryError
        self.epoll_fd = epoll_create1(EPOLL_CLOEXEC)
        if self.epoll_fd < 0:
            raise OSError(errno, strerror(errno))
        event.events = EPOLLIN
        wait_in = getattr(loop, "wait_in", None)
        self.waits = wait_in is not None
        if self.waits:
            event.data.u64 = ASYNCIO
            other_fd = wait_in(self)
        else:
            event.data.u64 = TIMER
            other_fd = self.timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
        if other_fd < 0 or epoll_ctl(self.epoll_fd, EPOLL_CTL_ADD, other_fd, &event) != 0:
            raise OSError(errno, strerror(errno))
        self.deadlines = Wheel(monotonic_ns(), TICK_NS, 512)
        self.tick_at(monotonic_ns() + TICK_NS)
        if not self.waits:
            self.turn_callback = self.turn
            loop.add_reader(self.epoll_fd, self.turn_callback)

    def __dealloc__(self):
        if self.epoll_fd >= 0:
            close(self.epoll_fd)
        if self.timer_fd >= 0:
            close(self.timer_fd)
        self._drop_queues()
        free(self.slots)
        free(self.scratch)

    def __repr__(self):
        return f"<Reactor watched={self.watched}>"

    # --- the table of descriptors ------------------------------------------------------------------------------------
    cdef int watch(self, Pollable handler, uint32_t events) except -1:
        """Begin to watch the handler's descriptor.

        Raises:
            OSError: the kernel cannot watch it.
        """
        cdef epoll_event event
        cdef int slot
        if self.epoll_fd < 0:
            raise OSError("the reactor is closed")
        if self.first_free < 0:
            self._grow()
        slot = self.first_free
        event.events = events
        event.data.u64 = (<uint64_t>self.slots[slot].generation << 32) | <uint64_t>slot
        if epoll_ctl(self.epoll_fd, EPOLL_CTL_ADD, handler.fd, &event) != 0:
            raise OSError(errno, strerror(errno))
        self.first_free = self.slots[slot].next_free
        self.slots[slot].handler = <void*>handler
        Py_INCREF(handler)
        handler.reactor = self
        handler.slot = slot
        handler.interest = events
        self.watched += 1
        return 0

    def _grow(self):
        cdef int former = self.capacity
        cdef int larger = FIRST_CAPACITY if former == 0 else 2 * former
        cdef Slot* slots = <Slot*>realloc(self.slots, larger * sizeof(Slot))
        cdef int index
        if slots == NULL:
            raise MemoryError
        self.slots = slots
        self.capacity = larger
        for index in range(former, larger):
            slots[index].handler = NULL
            slots[index].generation = 0
            slots[index].next_free = index + 1 if index + 1 < larger else -1
        self.first_free = former

    cdef int change(self, Pollable handler, uint32_t events) except -1:
        cdef epoll_event event
        if handler.slot < 0 or handler.interest == events:
            return 0
        handler.interest = events
        event.events = events
        event.data.u64 = (<uint64_t>self.slots[handler.slot].generation << 32) | <uint64_t>handler.slot
        epoll_ctl(self.epoll_fd, EPOLL_CTL_MOD, handler.fd, &event)

    cdef int unwatch(self, Pollable handler) except -1:
        if handler.slot >= 0:
            epoll_ctl(self.epoll_fd, EPOLL_CTL_DEL, handler.fd, NULL)
            self.forget(handler)

    cdef int forget(self, Pollable handler) except -1:
        cdef int slot = handler.slot
        if slot < 0:
            return 0
        handler.slot = -1
        handler.interest = 0
        self.slots[slot].handler = NULL
        self.slots[slot].generation += 1        # the remaining events of this batch for this slot are ignored
        self.slots[slot].next_free = self.first_free
        self.first_free = slot
        self.watched -= 1
        Py_DECREF(handler)

    # --- the end of a turn -------------------------------------------------------------------------------------------
    # Both lists run through the items themselves, with a reference to each: a list of Python costs more than the rest.
    cdef int defer(self, Deferred item) except -1:
        if not item.is_deferred:
            item.is_deferred = True
            item.next_deferred = NULL
            if self.first_deferred == NULL:
                self.first_deferred = <void*>item
            else:
                (<Deferred>self.last_deferred).next_deferred = <void*>item
            self.last_deferred = <void*>item
            Py_INCREF(item)
            if not self.in_turn:
                self.nudge()

    cdef int flush_later(self, Pollable handler) except -1:
        if not handler.is_unflushed:
            handler.is_unflushed = True
            handler.next_unflushed = self.last_unflushed
            self.last_unflushed = <void*>handler
            Py_INCREF(handler)
            if not self.in_turn:
                self.nudge()

    cdef int _drop_queues(self) except -1:
        """Drop what is deferred and what is not flushed."""
        cdef Deferred item
        cdef Pollable handler
        while self.first_deferred != NULL:
            item = <Deferred>self.first_deferred
            self.first_deferred = item.next_deferred
            item.is_deferred = False
            Py_DECREF(item)
        while self.last_unflushed != NULL:
            handler = <Pollable>self.last_unflushed
            self.last_unflushed = handler.next_unflushed
            handler.is_unflushed = False
            Py_DECREF(handler)

    cdef int nudge(self) except -1:
        if not self.is_nudged and not self.waits and self.epoll_fd >= 0:
            self.is_nudged = True
            self.loop.call_soon(self.turn_callback)

    cdef int tick_at(self, uint64_t due_ns) except -1:
        cdef itimerspec value
        cdef uint64_t now_ns = monotonic_ns()
        cdef uint64_t left_ns = due_ns - now_ns if due_ns > now_ns else 1
        self.tick_due_ns = due_ns
        if self.waits:
            return 0
        value.it_interval.tv_sec = 0
        value.it_interval.tv_nsec = 0
        value.it_value.tv_sec = left_ns // 1_000_000_000
        value.it_value.tv_nsec = left_ns % 1_000_000_000
        timerfd_settime(self.timer_fd, 0, &value, NULL)     # this also ends the readiness of the timer that has expired

    def turn(self):
        """Handle the events of one batch, what they defer, and the tick if it is due."""
        self.is_nudged = False
        if self.in_turn or self.epoll_fd < 0:
            return
        self._turn(0)
        if self.first_deferred != NULL or self.last_unflushed != NULL:
            self.nudge()

    def call(self):
        """Let :meth:`wait` return, because asyncio has something to run or an earlier timer."""
        self.is_called = True

    def wait(self, timeout):
        """Take turns until asyncio has something to do.

        Args:
            timeout: seconds until asyncio's next timer; None = it has none.

        Returns:
            Whether a descriptor of asyncio is ready.
        """
        cdef uint64_t until_ns = NEVER_NS
        if self.in_turn or self.epoll_fd < 0:
            return True
        if timeout is not None:
            until_ns = monotonic_ns() + (<uint64_t>(<double>timeout * 1e9) if timeout > 0 else 0)
        self.is_called = self.loop_is_ready = False
        while True:
            self._turn(until_ns)
            if self.loop_is_ready or self.is_called or self.epoll_fd < 0 or monotonic_ns() >= until_ns:
                return self.loop_is_ready

    cdef int _patience(self, uint64_t until_ns) noexcept:
        """Return for how many milliseconds the next turn may wait for an event."""
        cdef uint64_t due_ns = min(until_ns, self.tick_due_ns if self.tick_due_ns else NEVER_NS)
        cdef uint64_t now_ns
        if until_ns == 0 or self.first_deferred != NULL or self.last_unflushed != NULL:
            return 0
        now_ns = monotonic_ns()
        # A whole millisecond more rather than less: a wait that ends early is followed by another one.
        return 0 if due_ns <= now_ns else <int>((min(due_ns - now_ns, LONGEST_NS) + 999_999) // 1_000_000)

    cdef int _turn(self, uint64_t until_ns) except -1:
        """Take one turn. Without events it begins when there is one, at ``until_ns`` or with the tick."""
        cdef epoll_event[BATCH] events
        cdef uint64_t now_ns
        cdef Ticker ticker
        cdef int wait_ms
        self.in_turn = True
        try:
            self._flush()       # what was written outside of a turn
            wait_ms = self._patience(until_ns)
            if wait_ms == 0:
                self.count = epoll_wait(self.epoll_fd, events, self.batch, 0)
            else:
                with nogil:
                    self.count = epoll_wait(self.epoll_fd, events, self.batch, wait_ms)
                if self.count < 0:
                    self.is_called = True       # a signal, whose handler the interpreter runs
            self.position = 0
            now_ns = monotonic_ns()
            if not self.is_cut_short:
                self.busy_since_ns = now_ns
            if self.tick_due_ns and now_ns >= min(self.tick_due_ns, self.busy_since_ns) + LATE_NS:
                note_late(now_ns)       # before the events that have waited are handled
            self.is_cut_short = False
            while self.position < self.count:
                try:
                    self._dispatch(events, now_ns + TURN_NS)
                except BaseException as error:
                    self._give_up(events[self.position - 1].data.u64, error)
            end_events()
            # The kernel reports first what it has not reported for the longest time. A batch that ends early would come
            # again from its beginning, so it is smaller until the turns are short again.
            self.batch = max(self.position, 1) if self.is_cut_short else min(2 * self.batch, <int>BATCH)
            self._flush()
            self._run_deferred()
            if self.tick_due_ns:
                now_ns = monotonic_ns()
                if now_ns >= self.tick_due_ns:
                    if now_ns >= self.tick_due_ns + LATE_NS:
                        note_late(now_ns)
                    ticker = self.ticker
                    self.tick_due_ns = 0
                    try:
                        if ticker is not None:
                            ticker.on_tick(now_ns)
                        else:
                            self.tick_at(now_ns + TICK_NS)
                            self.deadlines.advance(now_ns)
                    except BaseException as error:
                        self._report(ticker, error)
                    self._run_deferred()
        finally:
            end_events()
            self.in_turn = False
        return 0

    cdef int _dispatch(self, epoll_event* events, uint64_t until_ns) except -1:
        """Handle events from ``position`` on. After an exception ``position`` stands behind the event that raised it."""
        cdef uint64_t where
        cdef uint32_t number
        cdef Pollable handler
        while self.position < self.count:
            where = events[self.position].data.u64
            number = <uint32_t>where      # its lower half
            self.position += 1
            if number >= <uint32_t>ASYNCIO or self.slots == NULL:
                self.loop_is_ready = self.loop_is_ready or number == <uint32_t>ASYNCIO
                continue
            if self.slots[number].handler == NULL or self.slots[number].generation != <uint32_t>(where >> 32):
                continue
            handler = <Pollable>self.slots[number].handler
            begin_event()
            handler.on_events(events[self.position - 1].events)
            if (self.position & 7 == 0 or self.took_long) and monotonic_ns() > until_ns:
                self.is_cut_short = self.position < self.count
                self.count = self.position      # the remaining events are reported again
            self.took_long = False
        return 0

    cdef int _flush(self) except -1:
        cdef Pollable handler
        while self.last_unflushed != NULL:
            handler = <Pollable>self.last_unflushed     # with a reference for this call
            self.last_unflushed = handler.next_unflushed
            handler.is_unflushed = False
            Py_DECREF(handler)
            try:
                handler.flush()
            except BaseException as error:
                self._report(handler, error)
                handler.on_error()

    cdef int _run_deferred(self) except -1:
        cdef Deferred item
        cdef void* last
        cdef bint more
        for _ in range(<int>ROUNDS):
            if self.first_deferred == NULL:
                break
            last = self.last_deferred       # what is deferred from now on is for the next round
            more = True
            while more:
                item = <Deferred>self.first_deferred        # with a reference for this round
                more = self.first_deferred != last
                self.first_deferred = item.next_deferred
                item.is_deferred = False
                Py_DECREF(item)
                try:
                    item.on_deferred()
                except BaseException as error:
                    self._report(item, error)
                    if isinstance(item, Pollable):
                        (<Pollable>item).on_error()
            self._flush()

    def _give_up(self, uint64_t where, error):
        """Report the exception of a handler, and end its descriptor, because its state cannot be trusted."""
        cdef uint32_t number = <uint32_t>where      # its lower half
        cdef Pollable handler = None
        if self.slots[number].handler != NULL and self.slots[number].generation == <uint32_t>(where >> 32):
            handler = <Pollable>self.slots[number].handler
        self._report(handler, error)
        if handler is not None:
            handler.on_error()
        self._flush()

    cdef int _report(self, object item, object error) except -1:
        self.loop.call_exception_handler(
            {"message": f"unexpected error on the data path: {type(item).__name__}", "exception": error}
        )

    def close(self):
        """End every connection and listener that is still watched, and stop. Idempotent."""
        cdef Pollable handler       # a reference of its own, because the table may hold the last one
        cdef int index
        if self.epoll_fd < 0:
            return
        if self.waits:
            self.loop.wait_in(None)
        else:
            self.loop.remove_reader(self.epoll_fd)
        for _ in range(<int>ROUNDS):        # who is told of an end may begin something
            for index in range(self.capacity):
                if self.slots[index].handler != NULL:
                    handler = <Pollable>self.slots[index].handler
                    handler.on_stop()
            self._run_deferred()
            if not self.watched:
                break
        close(self.epoll_fd)
        self.epoll_fd = -1
        self.ticker = None
        self.turn_callback = None       # the bound method refers to this object
        self._drop_queues()
