"""Keeps deadlines in a hashed wheel (Varghese and Lauck 1987, scheme 6), which is advanced once per tick.

A timer never fires early, and fires in the first ``advance`` at or after its deadline. A deadline may be moved later by
a plain store to ``deadline_ns``; the wheel notices it at the old deadline. Moving a deadline earlier needs ``arm``.
"""

cimport cython


cdef void unlink(Timer timer) noexcept:
    timer.prev.next = timer.next
    timer.next.prev = timer.prev
    timer.prev = None
    timer.next = None


cdef void link_before(Timer timer, Timer sentinel) noexcept:
    timer.prev = sentinel.prev
    timer.next = sentinel
    sentinel.prev.next = timer
    sentinel.prev = timer


cdef Timer new_sentinel():
    cdef Timer sentinel = Timer.__new__(Timer)
    sentinel.prev = sentinel
    sentinel.next = sentinel
    return sentinel


cdef class Timer:
    """A deadline and an action. A Cython subclass overrides ``fire``."""

    cdef int fire(self, uint64_t now_ns) except -1:
        raise TypeError(f"{type(self).__name__} has no fire()")


cdef class CallbackTimer(Timer):
    """A timer that calls ``action(now_ns)``."""

    def __init__(self, action):
        self.action = action

    cdef int fire(self, uint64_t now_ns) except -1:
        self.action(now_ns)


@cython.final
cdef class Wheel:
    """Timers in slots by the tick of their deadline, modulo ``slots`` (a power of two).

    A timer whose deadline is more than one turn away stays in its slot and is checked once per turn.
    """

    def __init__(self, uint64_t now_ns, uint64_t tick_ns=10_000_000, int slots=512):
        if tick_ns == 0 or slots < 1 or slots & (slots - 1):
            raise ValueError(f"a wheel needs a tick above zero and a power of two of slots, not {tick_ns}, {slots}")
        self.slots = [new_sentinel() for _ in range(slots)]
        self.mask = <uint64_t>slots - 1
        self.due = new_sentinel()
        self.tick_ns = tick_ns
        self.now_ns = now_ns
        self.count = 0

    cdef int _place(self, Timer timer) except -1:
        cdef uint64_t tick = timer.deadline_ns // self.tick_ns
        cdef uint64_t current = self.now_ns // self.tick_ns
        timer.tick = tick if tick > current else current
        link_before(timer, <Timer>self.slots[timer.tick & self.mask])

    cdef int arm(self, Timer timer, uint64_t deadline_ns) except -1:
        if timer.armed and timer.wheel is not self:
            timer.wheel.disarm(timer)
        timer.deadline_ns = deadline_ns
        if timer.armed:
            if deadline_ns // self.tick_ns >= timer.tick:
                return 0              # advance() finds the timer in its old slot and moves it then
            unlink(timer)
        else:
            timer.armed = True
            timer.wheel = self
            self.count += 1
        self._place(timer)

    cdef int disarm(self, Timer timer) except -1:
        if not timer.armed or timer.wheel is not self:
            return 0
        unlink(timer)
        timer.armed = False
        timer.wheel = None
        self.count -= 1

    cdef list standing(self):
        cdef list found = []
        cdef Timer sentinel, timer
        for sentinel in self.slots:
            timer = sentinel.next
            while timer is not sentinel:
                found.append(timer)
                timer = timer.next
        return found

    cpdef int advance(self, uint64_t now_ns) except -1:
        """Move to ``now_ns`` and fire every timer whose deadline is not after it; return how many fired.

        ``fire`` may arm or disarm any timer, its own included. A timer that it arms fires in the next advance at the
        earliest. An exception in ``fire`` does not stop the other timers: it is raised at the end (several exceptions
        as a group). A time earlier than the last one counts as the last one.
        """
        cdef uint64_t tick = self.now_ns // self.tick_ns
        cdef uint64_t last
        cdef Timer sentinel, timer, following
        cdef int fired = 0
        cdef list errors = None
        if now_ns < self.now_ns:
            now_ns = self.now_ns
        last = now_ns // self.tick_ns
        if last - tick > self.mask:
            tick = last - self.mask     # after a long gap every slot is checked once
        self.now_ns = now_ns
        while tick <= last:
            sentinel = <Timer>self.slots[tick & self.mask]
            timer = sentinel.next
            while timer is not sentinel:
                following = timer.next
                if timer.tick <= last:
                    if timer.deadline_ns <= now_ns:
                        unlink(timer)
                        link_before(timer, self.due)
                    elif timer.deadline_ns // self.tick_ns != timer.tick:
                        unlink(timer)
                        self._place(timer)
                timer = following
            tick += 1
        # All due timers are detached before the first one fires, because fire() may disarm or re-arm any of them.
        while self.due.next is not self.due:
            timer = self.due.next
            if timer.deadline_ns > now_ns:
                unlink(timer)
                self._place(timer)
                continue
            self.disarm(timer)
            fired += 1
            try:
                timer.fire(now_ns)
            except BaseException as error:
                errors = [error] if errors is None else errors + [error]
        if errors is not None:
            if len(errors) == 1:
                raise errors[0]
            raise BaseExceptionGroup("several timers failed", errors)
        return fired

    def schedule(self, Timer timer not None, uint64_t deadline_ns):
        """Arm a timer from Python."""
        self.arm(timer, deadline_ns)

    def cancel(self, Timer timer not None):
        """Disarm a timer from Python."""
        self.disarm(timer)
