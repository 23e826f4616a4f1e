"""Tells whether two bodies, or two error texts, are alike, and whether an error text quotes its request (no I/O)."""

from libc.stdint cimport uint64_t

# Return a mark that is equal for equal bodies, in every process; different bodies may have equal marks. Of a body over
# 128 KiB the beginning, the end and the length count.
cdef uint64_t body_mark(bytes body) noexcept
# Return a mark of an error text. Words with digits do not count: ids, times and amounts differ between answers that
# mean the same. Of a longer text the first 4 KiB count.
cdef uint64_t text_mark(int status, bytes text) noexcept
# Return whether an error text quotes a word with a digit (an id, an amount) of the request, other than the names of the
# model. The first eight such words of the text are looked for, in the first and last 128 KiB of the request.
cdef bint quotes(bytes text, bytes request, bytes model, bytes alias)
