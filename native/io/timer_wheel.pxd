"""Keeps deadlines in a hashed wheel, in which moving a deadline to a later time is a plain store.

A timer that is moved later keeps its place in the wheel, and is checked again when its old slot comes round. So the
stream-idle deadline costs one store per chunk."""

from libc.stdint cimport uint64_t

cdef class Timer:
    """A deadline. ``fire`` runs when ``deadline_ns`` has passed. The wheel holds a reference to each armed timer.

    A subclass overrides ``fire``; tests/native/test_contract.py checks it."""
    cdef Timer prev
    cdef Timer next
    cdef public uint64_t deadline_ns
    cdef readonly bint armed
    cdef Wheel wheel
    cdef uint64_t tick              # the timer's place in the wheel: its deadline in ticks when it was placed
    cdef int fire(self, uint64_t now_ns) except -1

cdef class Wheel:
    cdef list slots                 # one sentinel Timer per slot, the head of a ring of the slot's timers
    cdef uint64_t mask              # slots - 1
    cdef Timer due                  # the head of a ring of the timers that the current advance fires
    cdef uint64_t tick_ns
    cdef uint64_t now_ns
    cdef readonly int count
    cdef int arm(self, Timer timer, uint64_t deadline_ns) except -1  # a deadline in the past fires at the next advance
    cdef int disarm(self, Timer timer) except -1                          # idempotent
    cpdef int advance(self, uint64_t now_ns) except -1           # fire the timers that are due; return how many
    cdef list standing(self)                                     # every armed timer, in no order
    cdef int _place(self, Timer timer) except -1

cdef class CallbackTimer(Timer):
    """A timer that calls a Python function with now_ns."""
    cdef object action
