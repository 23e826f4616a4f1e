"""Finds the bucket of a duration in the histograms of the shared block: 24 buckets from 1 ms to 2 min."""

from libc.stdint cimport uint64_t

cdef int hist_bucket(uint64_t us) noexcept nogil    # index of the bucket that holds this many microseconds
