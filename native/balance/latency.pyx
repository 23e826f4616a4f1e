from libc.stdint cimport uint64_t
from native.io.atomics cimport cas64, load64, store64
from native.state.shared_state cimport (
    EDGE_EWMA_TAU_NS, edge_cell, edge_cell_ms, edge_cell_weight, edge_penalty_left,
)

cdef enum:
    MS = 1_000_000

cdef double SHORTEST_MS = 1e-3      # a cell of zero means no data


cdef void ewma_observe(uint64_t* latency_cell, uint64_t now_ns, uint64_t latency_ns, uint64_t tau_ns) noexcept nogil:
    cdef double sample = max(<double>latency_ns / MS, SHORTEST_MS)
    cdef uint64_t word = load64(latency_cell)
    cdef double weight, value
    while True:
        weight = edge_cell_weight(word, now_ns // MS, tau_ns)
        value = edge_cell_ms(word) * weight
        value = sample if sample >= value else value + sample * (1.0 - weight)
        if cas64(latency_cell, word, edge_cell(<float>value, now_ns // MS)):
            return
        word = load64(latency_cell)


cdef void average_observe(uint64_t* latency_cell, uint64_t now_ns, uint64_t latency_ns, uint64_t tau_ns) noexcept nogil:
    cdef double sample = max(<double>latency_ns / MS, SHORTEST_MS)
    cdef uint64_t word = load64(latency_cell)
    cdef double weight, value
    while True:
        weight = edge_cell_weight(word, now_ns // MS, tau_ns) if word else 0.0
        value = edge_cell_ms(word) * weight + sample * (1.0 - weight)
        if cas64(latency_cell, word, edge_cell(<float>value, now_ns // MS)):
            return
        word = load64(latency_cell)


cdef double ewma_read(uint64_t* latency_cell, uint64_t now_ns, uint64_t tau_ns) noexcept nogil:
    cdef uint64_t word = load64(latency_cell)
    return edge_cell_ms(word) * edge_cell_weight(word, now_ns // MS, tau_ns) if word else 0.0


cdef void penalty_observe(uint64_t* penalty, uint64_t* latency_cell, uint64_t now_ns, uint64_t latency_ns,
                          bint failed) noexcept nogil:
    # Only reports read this word, so a plain store is enough: it does no harm if it overwrites another process's value.
    cdef double sample = max(<double>latency_ns / MS, SHORTEST_MS)
    cdef uint64_t word = load64(penalty)
    if failed:
        if sample >= edge_penalty_left(word, now_ns // MS):
            store64(penalty, edge_cell(<float>sample, now_ns // MS))
    elif word and sample >= ewma_read(latency_cell, now_ns, EDGE_EWMA_TAU_NS):
        store64(penalty, 0)
