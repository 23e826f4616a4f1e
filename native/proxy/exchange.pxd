"""In what order do things happen to a request?  The one place that knows; docs/life-of-a-request.md follows its names.

What is read and who may ask stands in ``intake``, what the client is told in ``answering``; here is what holds them
together: which target, when again, how long, and when it is over."""

from libc.stdint cimport uint64_t
from native.proxy.response cimport Answering
from native.balance.balancer cimport Choice
from native.proxy.data_plane cimport DataPlaneCore
from native.balance.queue cimport Waiter
from native.proxy.accounting cimport AttemptCore
from native.http.stream cimport ServerStream
from native.io.timer_wheel cimport Timer

cdef class DataPlane(DataPlaneCore):
    pass

cdef class Alarm(Timer):
    cdef Exchange exchange

cdef class Exchange(Answering):
    """A request and its answer, with every attempt in between."""
    cdef uint64_t tried         # a bit per member of the pool
    cdef Alarm alarm
    cdef Waiter waiter          # its place in the route's queue, while it waits there
    cdef exclude_visited_regions(self)
    cdef uint64_t away(self, uint64_t tried, uint64_t now)
    cdef draw(self, uint64_t now, uint64_t tried, Choice* choice)
    cdef choose(self)
    cdef passed_over(self, const Choice* choice)
    cdef wait(self, uint64_t now)
    cdef shed(self, uint64_t now)
    cdef int retry_after_s(self)
    cdef set_failover_reason(self, int chosen, uint64_t now)
    cdef check_deadlines(self, uint64_t now)
    cdef cut_off(self, uint64_t now)
