"""Keeps whole answers in memory that all processes of a node share: one answer as it is found."""

from libc.stdint cimport uint64_t

cdef class CacheEntry:
    """One whole answer that was kept."""
    cdef readonly int status
    cdef readonly list fields           # (name, value) of those that describe the content
    cdef readonly bytes target          # the id of the target that gave it
    cdef readonly bytes content         # a whole body, or all events of a stream
    cdef readonly uint64_t age_ns       # since the answer came
