"""What does a target answer, and whose fault is it if that is no answer?  An attempt hears the upstream and tells its
exchange; the exchange decides."""

from libc.stdint cimport uint64_t
from native.proxy.asking cimport Asking
from native.codec.head cimport Head

cdef class Attempt(Asking):
    cdef hear_service(self, Head head, int action, uint64_t now)
    cdef hear_events(self, bytes data)
    cdef hear_error(self, bytes whole, Py_ssize_t end)
    cdef judge_whole(self, uint64_t now)
    cdef judge_fault(self)
    cdef int action_of(self, bytes content)
    cdef bytes redact(self, bytes content)
    cdef judge_call(self, bytes status, list trailers, uint64_t now)
