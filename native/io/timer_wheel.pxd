"""When is it time?  Many deadlines, one tick: a hashed wheel whose timers are moved later for free.

A timer that is pushed back keeps its place in the wheel and is looked at again when its old slot comes round, so the
stream-idle deadline costs one store per chunk."""

from libc.stdint cimport uint64_t

cdef class Timer:
    """A deadline. ``fire`` runs when ``deadline_ns`` has passed; the wheel holds a reference to a timer that is armed.

    A subclass overrides ``fire``; tests/native/test_contract.py checks it."""
    cdef Timer prev
    cdef Timer next
    cdef public uint64_t deadline_ns
    cdef readonly bint armed
    cdef Wheel wheel
    cdef uint64_t tick              # where it stands in the wheel: its deadline when it was placed, in ticks
    cdef void fire(self, uint64_t now_ns)

cdef class Wheel:
    cdef list slots                 # one sentinel Timer per slot, ring of those that stand there
    cdef uint64_t mask              # slots - 1
    cdef Timer due                  # sentinel of what the current advance fires
    cdef uint64_t tick_ns
    cdef uint64_t now_ns
    cdef readonly int count
    cdef void arm(self, Timer timer, uint64_t deadline_ns)      # earlier than now: fires at the next advance
    cdef void disarm(self, Timer timer)                          # idempotent
    cpdef int advance(self, uint64_t now_ns) except -1           # fires what is due; returns how many
    cdef list standing(self)                                     # every armed timer, in no order
    cdef void _place(self, Timer timer)

cdef class CallbackTimer(Timer):
    """A timer that calls a Python function with now_ns."""
    cdef object action
