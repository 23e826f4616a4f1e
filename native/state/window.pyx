"""Counts the outcomes of the last ten seconds exactly, in buckets of one second that carry the stamp of their second.

If a later second has already overwritten a writer's bucket, because the writer's clock is ten seconds behind, its sample
is dropped: the sample is older than the window. Counts saturate at 4,194,303 a second.
"""

from libc.stdint cimport uint32_t, uint64_t
from native.io.atomics cimport cas64, load64, store64
from native.state.shared_state cimport (
    EDGE_BUCKET_COUNT_MASK, EDGE_BUCKET_STAMP_MASK, EDGE_WINDOW_BUCKETS, CircuitRec, SharedState, WindowSum, edge_bucket,
    edge_bucket_first, edge_bucket_second, edge_bucket_stamp, edge_stamp_of, edge_window_sum,
)

# A bucket up to ten minutes ahead of the writer was written by a process that had read the clock later. A bucket
# further ahead is an old one, from before the stamps wrapped around.
cdef enum:
    LATER_CLOCK_TURNS = 60


cdef void count(uint64_t* bucket, uint64_t second, bint also) noexcept nogil:
    cdef uint64_t word = load64(bucket)
    cdef uint32_t ahead, first, other
    while True:
        ahead = (edge_bucket_stamp(word) - edge_stamp_of(second)) & EDGE_BUCKET_STAMP_MASK
        if ahead == 0:
            first = edge_bucket_first(word)
            other = edge_bucket_second(word)
        elif ahead <= LATER_CLOCK_TURNS and word != 0:
            return
        else:
            first = other = 0
        first += first < EDGE_BUCKET_COUNT_MASK
        other += also and other < EDGE_BUCKET_COUNT_MASK
        if cas64(bucket, word, edge_bucket(second, first, other)):
            return
        word = load64(bucket)


cdef void window_add(CircuitRec* rec, uint64_t now_ns, bint failed) noexcept nogil:
    cdef uint64_t second = now_ns // 1_000_000_000
    count(&rec.window[second % EDGE_WINDOW_BUCKETS], second, failed)


cdef void window_slow(CircuitRec* rec, uint64_t now_ns) noexcept nogil:
    cdef uint64_t second = now_ns // 1_000_000_000
    count(&rec.slow[second % EDGE_WINDOW_BUCKETS], second, False)


cdef WindowSum window_read(CircuitRec* rec, uint64_t now_ns, int seconds) noexcept nogil:
    return edge_window_sum(rec, now_ns // 1_000_000_000, seconds)


cdef void window_clear(CircuitRec* rec) noexcept nogil:
    cdef int place
    for place in range(EDGE_WINDOW_BUCKETS):
        store64(&rec.window[place], 0)
        store64(&rec.slow[place], 0)


cdef class Window:
    """One target's window in a shared state, for Python (tests, tools)."""

    def __init__(self, SharedState shared_state not None, int slot):
        self.rec = &shared_state.target(slot).own
        self.shared_state = shared_state

    def add(self, uint64_t now_ns, bint failed=False):
        """Count one ended attempt."""
        window_add(self.rec, now_ns, failed)

    def slow(self, uint64_t now_ns):
        """Count one overdue attempt."""
        window_slow(self.rec, now_ns)

    def read(self, uint64_t now_ns, int seconds=10):
        """Return (total, failed, slow) of the last ``seconds`` seconds, the current one included."""
        cdef WindowSum found = window_read(self.rec, now_ns, seconds)
        return found.total, found.failed, found.slow

    def clear(self):
        """Clear all buckets."""
        window_clear(self.rec)
