/* Atomic operations on 32-bit and 64-bit words in memory that processes share (GCC and Clang built-ins).
 *
 * Loads acquire and stores release: a reader of a stored value also sees everything written before the store. Counters
 * are relaxed, because no other data depends on their order. */
#ifndef EDGE_ATOMICS_H
#define EDGE_ATOMICS_H
#include <stdint.h>

#define edge_load(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define edge_store(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define edge_add(p, v) __atomic_add_fetch((p), (v), __ATOMIC_RELAXED)
#define edge_or(p, v) __atomic_or_fetch((p), (v), __ATOMIC_ACQ_REL)
static inline int edge_cas(uint64_t *p, uint64_t old_value, uint64_t new_value) {
    return __atomic_compare_exchange_n(p, &old_value, new_value, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

static inline int edge_cas32(uint32_t *p, uint32_t old_value, uint32_t new_value) {
    return __atomic_compare_exchange_n(p, &old_value, new_value, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

#endif
