"""Lets an attempt that lost run on beside its exchange, so that its time, or its silence, is learned."""

from libc.stdint cimport uint64_t
from native.io.timer_wheel cimport Timer
from native.proxy.attempt cimport Attempt, AttemptEvents
from native.proxy.runtime cimport Runtime

cdef class DetachedTimer(Timer):
    cdef DetachedAttempt owner
    cdef int fire(self, uint64_t now_ns) except -1

cdef class DetachedAttempt(AttemptEvents):
    cdef Runtime runtime
    cdef Attempt attempt
    cdef DetachedTimer timer
    cdef uint64_t deadline_ns
    cdef int check(self, uint64_t now) except -1
    cdef int arm(self) except -1

# True: the attempt runs on by itself. False: another one of its target does so already, or there is nothing to learn.
cdef bint detach(Attempt attempt, uint64_t deadline_ns)
