"""Finds the target that has a request's prompt in its cache, and remembers which target gets it."""

from libc.stdint cimport uint64_t
from native.proxy.model_request cimport ModelRequest
from native.proxy.router cimport Route

cdef class Blocks:
    """A prompt, cut into blocks: the fingerprint of the text up to the end of each, and where that is."""
    cdef uint64_t[128] marks
    cdef Py_ssize_t[128] ends
    cdef int count

cdef class Affinity:
    """What one exchange knows of prompt caches."""
    cdef ModelRequest request
    cdef Route route
    cdef readonly int kept              # the member that the conversation is kept at; -1 = none
    cdef uint64_t kept_until_ns         # when that pin expires, if it is not renewed
    cdef uint64_t has                   # a bit per member that has a part of the prompt
    cdef bint unnamed                   # the name of the answer is still to be read
    cdef Blocks blocks                  # None = its prompt is not compared with what targets have
    cdef int find(self, uint64_t now_ns) except -1
    # Rank the members for the next pick by how much of the prompt they have; False = none has any of it.
    cdef bint rank(self, uint64_t now_ns) noexcept
    # A member has begun its answer. tried: a bit for each member that was asked.
    cdef void remember(self, int index, uint64_t tried, uint64_t now_ns) noexcept
    # Read the name of a Response in the first bytes of its answer: a later request may go on with it by that name.
    cdef int learn(self, int index, bytes data, uint64_t now_ns) except -1
    cdef bint _queues(self, int index, uint64_t now_ns) noexcept
    cdef bint _stays(self, uint64_t tried, uint64_t now_ns) noexcept
    cdef int _divide(self) except -1
    cdef int _find_pin(self, uint64_t mark, uint64_t now_ns) noexcept

# None = the route keeps nothing, or nothing of this request, or the request begins a conversation: then no member has its
# prompt, and remember_first() takes the place of Affinity.remember().
cdef Affinity new_affinity(ModelRequest request, uint64_t now_ns)
cdef void remember_first(ModelRequest request, int index, uint64_t now_ns) noexcept
