"""Keeps one exchange's part in the cache: what is found, whose answer is awaited, and what is kept of its own answer."""

from libc.stdint cimport uint64_t
from native.codec.head cimport Head
from native.proxy.request cimport Request
from native.state.answer_store cimport CacheEntry

cdef enum:
    LOOK_AGAIN_NS = 10_000_000  # how often a waiting exchange looks whether the answer has come, maybe to another worker

cdef class Flight:
    cdef object cache               # native.proxy.hooks.Cache
    cdef CacheEntry entry           # to answer with; None = none was found
    cdef bytes question             # 32 bytes
    cdef uint64_t ttl_ns, stale_if_error_ns
    cdef uint64_t number            # the flight in the store: its own, or the one that it waits for; 0 = none
    cdef bint leads                 # this exchange asks, and others may wait for it
    cdef bint waited                # another exchange asked the same first
    cdef bint refresh               # the caller wants a new answer
    cdef bytes target               # what the answer comes from, and its content so far; None = it is not kept
    cdef list fields, content
    cdef Py_ssize_t size
    cdef Request request            # for whose key the content is held
    cdef Py_ssize_t counted         # bytes that are counted as held
    cdef int look(self, uint64_t now_ns) except -1          # returns a native.proxy.steps.Event
    cdef bint find_stale(self, uint64_t now_ns) except -1   # an answer to use instead of an error; sets ``entry``
    cdef int counter(self, bint stale) noexcept             # a native.state.counters.RouteCounter for ``entry``
    cdef bytes word(self, bint stale)                       # what ``entry`` is, for x-edge-cache
    cdef str result(self, bint stale)                       # the same for the record, also without an entry
    cdef int begin_answer(self, Head head, bytes target) except -1   # keep the answer with this head, if it may be kept
    cdef void take(self, bytes data) noexcept               # more of its content
    cdef void drop(self) noexcept                   # keep nothing of the answer that comes
    cdef keep(self, bytes tail, uint64_t now_ns)            # the answer is complete
    cdef end(self)

cdef Flight new_flight(Request request)     # None = the exchange has nothing to do with a cache
