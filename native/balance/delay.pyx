"""Compares the time to first token with the time that it takes when no requests wait at the target.

- **A window** covers only requests that began in it, so that a step of the limit is not judged by earlier requests. It
  lasts at least 1 s, twice the floor (at most 10 s) and 10 first tokens.
- **The floor** is the time to first token without queueing. It moves towards a lower average by a twentieth of the
  difference per window, so that one lucky window does not become the measure, and towards a higher average by 1/200.
- **A slow window** has an average of more than 1.5 times the floor, and of more than the floor plus 50 ms. A smaller
  difference is noise at targets that answer in milliseconds.

Sources: Netflix concurrency-limits (Gradient2: windows of 1 s and 10 samples, tolerance 1.5). Only the process that
moves ``limit_floor`` by compare-and-swap ends a window; a process that is killed in between costs one window.
"""

from libc.stdint cimport uint32_t, uint64_t
from native.io.atomics cimport add64, cas64, load64, store64
from native.state.shared_state cimport TargetRec, edge_cell, edge_cell_age_ms, edge_cell_ms

cdef enum:
    MS = 1_000_000
    WINDOW_MS = 1_000
    WINDOW_MOST_MS = 10_000
    WINDOW_SAMPLES = 10

TOLERANCE = 1.5
cdef double NOISE_MS = 50.0
cdef double FLOOR_DOWN = 0.05
cdef double FLOOR_UP = 0.005


cdef uint32_t delay_window_ms(double floor_ms) noexcept nogil:
    # Twice the floor, so that most of the requests that began in a window have their first token before its end.
    return <uint32_t>min(max(2.0 * floor_ms, <double>WINDOW_MS), <double>WINDOW_MOST_MS)


cdef bint above(double seen_ms, double floor_ms, double times) noexcept nogil:
    return floor_ms > 0 and seen_ms > times * floor_ms and seen_ms > floor_ms + NOISE_MS


cdef bint delay_exceeds(TargetRec* rec, uint64_t now_ns, double times) noexcept nogil:
    cdef uint64_t seen = load64(&rec.limit_seen)
    if seen == 0 or edge_cell_age_ms(seen, now_ns // MS) > SEEN_MS:
        return False
    return above(edge_cell_ms(seen), edge_cell_ms(load64(&rec.limit_floor)), times)


cdef bint delay_observe(TargetRec* rec, uint64_t now_ns, uint64_t first_us) noexcept nogil:
    cdef uint64_t word = load64(&rec.limit_floor)
    cdef uint64_t total_us, count
    cdef uint32_t age_ms
    cdef double seen_ms, floor_ms
    if word == 0:
        cas64(&rec.limit_floor, 0, edge_cell(0.0, now_ns // MS))
        return False
    age_ms = edge_cell_age_ms(word, now_ns // MS)
    if first_us // 1000 > age_ms:
        return False        # the request began before this window
    add64(&rec.limit_sum_us, first_us)
    count = add64(&rec.limit_count, 1)
    if count < WINDOW_SAMPLES or age_ms < delay_window_ms(edge_cell_ms(word)):
        return False
    total_us = load64(&rec.limit_sum_us)
    count = load64(&rec.limit_count)
    if count == 0:
        return False        # another process is ending this window
    seen_ms = <double>total_us / <double>count / 1000.0
    floor_ms = edge_cell_ms(word)
    if floor_ms <= 0:
        floor_ms = seen_ms
    else:
        floor_ms += (seen_ms - floor_ms) * (FLOOR_DOWN if seen_ms < floor_ms else FLOOR_UP)
    if not cas64(&rec.limit_floor, word, edge_cell(<float>floor_ms, now_ns // MS)):
        return False        # another process has ended it
    add64(&rec.limit_sum_us, 0 - total_us)
    add64(&rec.limit_count, 0 - count)
    store64(&rec.limit_seen, edge_cell(<float>seen_ms, now_ns // MS))
    store64(&rec.limit_slow, load64(&rec.limit_slow) + 1 if above(<float>seen_ms, <float>floor_ms, TOLERANCE) else 0)
    return True
