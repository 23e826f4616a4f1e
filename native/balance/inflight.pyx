from libc.stdint cimport uint32_t, uint64_t
from native.io.atomics cimport cas64, load32, load64
from native.state.shared_state cimport TargetRec

cdef enum:
    MS = 1_000_000


cdef uint32_t inflight_total(TargetRec* rec, int workers) noexcept nogil:
    # When a dead worker's column is cleared, an attempt that still runs makes it negative as it ends. That counts as 0.
    cdef uint32_t total = 0
    cdef int value, place
    for place in range(workers):
        value = <int>load32(&rec.inflight[place])
        total += value if value > 0 else 0
    return total


cdef uint32_t inflight_of(TargetRec* rec, int priority, int workers) noexcept nogil:
    cdef uint32_t total = 0
    cdef int value, place
    for place in range(workers):
        value = <int>load32(&rec.inflight_by_priority[priority][place])
        total += value if value > 0 else 0
    return total


cdef uint32_t epoch_of(uint64_t now_ns) noexcept nogil:
    """Return the number of the epoch. It is never 0, because a word of 0 means no data."""
    return <uint32_t>(now_ns // MS // HIGHEST_EPOCH_MS) + 1


cdef void inflight_note(TargetRec* rec, uint64_t now_ns, uint32_t inflight) noexcept nogil:
    cdef uint32_t epoch = epoch_of(now_ns)
    cdef uint64_t* highest = &rec.highest[epoch & 1]
    cdef uint64_t word = load64(highest)
    while <uint32_t>(word >> 32) != epoch or <uint32_t>word < inflight:
        if cas64(highest, word, <uint64_t>epoch << 32 | inflight):
            return
        word = load64(highest)


cdef uint32_t inflight_highest(TargetRec* rec, uint64_t now_ns) noexcept nogil:
    cdef uint32_t epoch = epoch_of(now_ns)
    cdef uint64_t word = load64(&rec.highest[epoch & 1])
    cdef uint64_t before = load64(&rec.highest[(epoch - 1) & 1])
    cdef uint32_t highest = <uint32_t>word if <uint32_t>(word >> 32) == epoch else 0
    if <uint32_t>(before >> 32) == epoch - 1:
        highest = max(highest, <uint32_t>before)
    return highest
