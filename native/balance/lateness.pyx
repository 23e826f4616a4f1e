"""Decides when an attempt is late.

A late attempt is not cut off: the exchange starts a second one beside it (native/proxy/exchange), and only enough late
attempts in a row open the circuit. The bound is ``4 x p99``, at least 2 s. With fewer than 100 samples the percentile is
not reliable. Then the bound is at least 10 s for streams and 60 s for complete answers, whose time depends on length.

The percentile comes from a histogram with four buckets per octave (an error of at most a fifth). The counts are halved
when they reach 2,000, so that the histogram covers the last one or two thousand samples. The percentile is recomputed
with every sixteenth sample, and with each of the first sixteen. Counts are relaxed atomics; a lost count does no harm.
"""

from libc.stdint cimport uint32_t, uint64_t
from native.io.atomics cimport add32, cas32, load32, store32
from native.state.shared_state cimport CircuitRec, EDGE_LATENCY_BUCKETS, SharedState, TargetRec

cdef enum:
    LEAST_MS = 4                # upper bound of the first bucket
    FORGET_AT = 2000
    RECKON_EVERY = 16
    TIMES = 4                   # an attempt is late after this multiple of the percentile
    LEAST_SAMPLES = 20          # for a percentile that hedges go by

cdef uint64_t FLOOR_NS = 2_000_000_000
cdef uint64_t[2] UNKNOWN_NS = [10_000_000_000, 60_000_000_000]      # by latency cell: streams, complete answers


cdef int bucket_of(uint64_t us) noexcept nogil:
    cdef uint64_t ms = us // 1000
    cdef int octave = 0
    cdef int place
    if ms < LEAST_MS:
        return 0
    while ms >> octave >= 8:
        octave += 1
    place = 4 * octave + <int>((ms >> octave) & 3)
    return place if place < EDGE_LATENCY_BUCKETS else EDGE_LATENCY_BUCKETS - 1


cdef uint32_t upper_ms(int place) noexcept nogil:
    """Return the first millisecond above a bucket."""
    return <uint32_t>(4 + place % 4 + 1) << (place // 4)


cdef void reckon(TargetRec* rec, int cell) noexcept nogil:
    cdef uint64_t total = 0, seen = 0
    cdef int place = 0
    for place in range(EDGE_LATENCY_BUCKETS):
        total += load32(&rec.latency_count[cell][place])
    for place in range(EDGE_LATENCY_BUCKETS):
        seen += load32(&rec.latency_count[cell][place])
        if seen * 100 >= total * 99:
            break
    store32(&rec.latency_p99_ms[cell], upper_ms(place))


cdef void forget(TargetRec* rec, int cell, uint32_t samples) noexcept nogil:
    """Halve the counts, if this process is the one that moves the sum."""
    cdef int place
    if not cas32(&rec.latency_samples[cell], samples, samples // 2):
        return
    for place in range(EDGE_LATENCY_BUCKETS):
        store32(&rec.latency_count[cell][place], load32(&rec.latency_count[cell][place]) // 2)


cdef void lateness_observe(TargetRec* rec, int cell, uint64_t us) noexcept nogil:
    cdef uint32_t samples
    cell &= 1
    add32(&rec.latency_count[cell][bucket_of(us)], 1)
    samples = add32(&rec.latency_samples[cell], 1)
    if samples <= RECKON_EVERY or samples % RECKON_EVERY == 0:
        reckon(rec, cell)
    if samples >= FORGET_AT:
        forget(rec, cell, samples)


cdef uint64_t late_after_ns(TargetRec* rec, int cell) noexcept nogil:
    cdef uint64_t bound = <uint64_t>TIMES * load32(&rec.latency_p99_ms[cell & 1]) * 1_000_000
    cdef uint64_t floor = FLOOR_NS if lateness_known(rec, cell) else UNKNOWN_NS[cell & 1]
    return bound if bound > floor else floor


cdef uint64_t percentile_ns(TargetRec* rec, int cell, double share) noexcept nogil:
    cdef uint64_t total = 0, seen = 0
    cdef int place = 0
    cell &= 1
    for place in range(EDGE_LATENCY_BUCKETS):
        total += load32(&rec.latency_count[cell][place])
    if total < LEAST_SAMPLES or total * (1.0 - share) < 0.999999:
        return 0
    for place in range(EDGE_LATENCY_BUCKETS):
        seen += load32(&rec.latency_count[cell][place])
        if seen >= total * share:
            break
    return <uint64_t>upper_ms(place) * 1_000_000


cdef bint lateness_known(TargetRec* rec, int cell) noexcept nogil:
    return load32(&rec.latency_samples[cell & 1]) >= ENOUGH_SAMPLES


cdef int late_again(CircuitRec* rec) noexcept nogil:
    return <int>add32(&rec.late_in_a_row, 1)


cdef void heard(CircuitRec* rec) noexcept nogil:
    if load32(&rec.late_in_a_row):
        store32(&rec.late_in_a_row, 0)


cdef class Lateness:
    """The lateness of one target, for tests. Times are microseconds in and nanoseconds out."""

    cdef SharedState shared_state
    cdef TargetRec* rec

    def __init__(self, SharedState shared_state not None, int slot):
        self.rec = shared_state.target(slot)
        self.shared_state = shared_state

    def observe(self, int cell, uint64_t us):
        """Record the time to a first content."""
        lateness_observe(self.rec, cell, us)

    def late_after(self, int cell):
        """Return the nanoseconds after which an attempt is late."""
        return late_after_ns(self.rec, cell)

    def percentile(self, int cell, double share):
        """Return the nanoseconds within which this share of first contents has come; 0 = too few samples."""
        return percentile_ns(self.rec, cell, share)

    def known(self, int cell):
        """Return whether lateness counts against the target."""
        return lateness_known(self.rec, cell)
