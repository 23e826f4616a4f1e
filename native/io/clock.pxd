"""Reads the monotonic clock and the wall clock; the only native module that does. edge/clock.py is its Python twin.

Kernels never import this module: they take now_ns as an argument."""

from libc.stdint cimport uint64_t

cdef extern from * nogil:
    """
    #include <stdint.h>
    #include <time.h>
    static inline uint64_t edge_now_ns(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
    }
    static inline uint64_t edge_wall_ns(void) {
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
    }
    """
    uint64_t monotonic_ns "edge_now_ns"()
    uint64_t wall_ns "edge_wall_ns"()           # since 1970; for display and records, never for deadlines
