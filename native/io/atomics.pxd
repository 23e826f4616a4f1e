"""Declares the atomic operations on words in shared memory; atomics.h says which memory order each has."""

from libc.stdint cimport uint32_t, uint64_t

cdef extern from "native/io/atomics.h" nogil:
    uint64_t load64 "edge_load"(uint64_t* p)
    uint32_t load32 "edge_load"(uint32_t* p)
    void store64 "edge_store"(uint64_t* p, uint64_t v)
    void store32 "edge_store"(uint32_t* p, uint32_t v)
    uint64_t add64 "edge_add"(uint64_t* p, uint64_t v)      # returns the new value
    uint32_t add32 "edge_add"(uint32_t* p, int v)
    uint64_t or64 "edge_or"(uint64_t* p, uint64_t v)
    bint cas64 "edge_cas"(uint64_t* p, uint64_t old, uint64_t new)     # True = *p was ``old`` and is ``new`` now
    bint cas32 "edge_cas32"(uint32_t* p, uint32_t old, uint32_t new)
