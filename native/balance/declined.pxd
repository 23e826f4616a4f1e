"""Remembers what a target has declined lately, and tells when it declines other requests for the same reason."""

from libc.stdint cimport uint64_t
from native.state.shared_state cimport TargetRec

# Note an answer with which the target declined a request, and which may be about that request alone. Returns whether
# that is refuted: another body was declined alike within the last 60 s, by another key if several keys are active, and
# the target has given no good answer since. Then everything that was noted is forgotten. answer, body: marks of
# native/codec/likeness. ``key``: 0..63 the caller's key, -1 keys are not in use.
cdef bint declined_alike(TargetRec* rec, uint64_t now_ns, int status, uint64_t answer, uint64_t body,
                         int key) noexcept nogil
# Return the status of the last such answer that is not explained yet; 0 = there is none.
cdef int declined_with(TargetRec* rec, uint64_t now_ns) noexcept nogil
