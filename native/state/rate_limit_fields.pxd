"""Writes the x-ratelimit-* fields of a response: the limit, what is left of it, and when it is full again.

Names and durations as OpenAI sends them (platform.openai.com/docs/guides/rate-limits)."""

from libc.stdint cimport uint64_t
from native.state.allowance cimport Allowance, Rate

cdef class BucketFields:
    """The fields of one bucket. Consecutive responses often have the same values, so the last fields are cached."""
    cdef bytes limit_name, remaining_name, reset_name
    cdef tuple limit                    # constant; None = the limit is this node's share, which changes
    cdef tuple remaining, reset         # the last fields that were written, and their values
    cdef uint64_t remaining_units, reset_ms
    cdef append(self, list fields, const Rate* rate, uint64_t* tat, uint64_t now_ns)

cdef class RateLimitFields:
    """The fields of one caller."""
    cdef Allowance allowance
    cdef BucketFields requests, tokens  # None = no such limit
    cdef append(self, list fields, uint64_t now_ns)
