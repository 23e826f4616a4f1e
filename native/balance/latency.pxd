"""Keeps average latencies in words of the shared state.

A latency cell is one word: float32 milliseconds and a stamp (see shared_state.h). Cells are moved by compare-and-swap.
"""

from libc.stdint cimport uint64_t

cpdef enum Cell:
    CELL_STREAM = 0         # latency of streams: time to the first content token
    CELL_WHOLE = 1          # latency of whole answers, and of services: time to the first byte

cdef enum:
    # A failure counts as this latency, unless it took longer (linkerd's load biaser uses 5 s).
    FAILURE_PENALTY_MS = 5_000
    BASELINE_TAU_MS = 600_000       # time constant of the baseline, the usual latency of a target

# Peak-EWMA: a higher sample replaces the average at once, lower ones move it with the time constant ``tau_ns``.
# Failures count as at least FAILURE_PENALTY_MS; otherwise a target that fails fast would attract all traffic.
cdef void ewma_observe(uint64_t* latency_cell, uint64_t now_ns, uint64_t latency_ns, uint64_t tau_ns) noexcept nogil
# Return the milliseconds, decayed to ``now_ns``; 0 = no data.
cdef double ewma_read(uint64_t* latency_cell, uint64_t now_ns, uint64_t tau_ns) noexcept nogil
# The same average without the peak, for baselines.
cdef void average_observe(uint64_t* latency_cell, uint64_t now_ns, uint64_t latency_ns, uint64_t tau_ns) noexcept nogil
# Record the part of a peak-EWMA that failures added, for reports. Call this before ewma_observe. A failure replaces the
# rest of an earlier penalty if it is larger. A success that sets a new peak clears the penalty.
cdef void penalty_observe(uint64_t* penalty, uint64_t* latency_cell, uint64_t now_ns, uint64_t latency_ns,
                          bint failed) noexcept nogil
