"""Tells which capabilities of a target a request needs, and which of them an answer says that the target lacks."""

from libc.stdint cimport uint64_t
from native.codec.media cimport Media
from native.codec.request_peek cimport Peek

cdef enum:
    LONG_PROMPT = 32_768        # tokens, by the size of the text; a longer prompt needs a long context

# Return a bit for each native.state.counters.Capability, 0 = nothing special. operation: native.proxy.router.Operation.
cdef uint64_t needs_of(int operation, const Peek* peek, const Media* media, Py_ssize_t text_size) noexcept
# Return which of ``needs`` a target's refusal names in words, -1 = none.
cdef int lacking(bytes text, uint64_t needs) except -2
# Return whether JSON writes an ASCII letter or an underline by its number, which no client does by itself.
cdef bint hides_letters(bytes content) noexcept
# Return whether a body may have its provider call tools or run code: two that are asked do it twice.
cdef bint may_act_at_provider(bytes content) noexcept
