"""How many requests does this target take at once?

Nobody publishes it, so it is learned: from what the target refuses (loss), and from how long a first token takes (delay).

- **Growth.** Each first token adds one while the limit has never fallen and half of it is in use (slow start). After
  that a first token adds 1/limit, and a window of normal delay adds the root of the limit, both only while 4/5 of it is in
  use: a limit that nothing presses against proves nothing.
- **Loss.** A 429, a 503, a 529 or a missed first-byte or first-token deadline takes a tenth, at most every 100 ms, and
  only if a first token has come since the last time: a target that answers nobody is ill, not full, and that is the
  breaker's business. A refused connection says nothing about capacity.
- **Delay.** A window hears of requests that began in it, so that no step is judged by what was before it; it lasts at least
  1 s, twice the floor (at most 10 s) and 10 first tokens. At its end: an average over 1.5 times the floor takes the limit
  down by as much, to no less than half. Nothing is taken while less than half of the limit is in use: then it is not our
  load that makes the target slow.
- **The floor** is what a first token takes when nothing waits: it follows lower averages by a twentieth of the way per window
  (one lucky window must not become the measure) and higher ones by 1/200.

**The ramp** is for what a better tier leaves to a later one: requests of the lowest class may be there ``spill`` at once,
at first a tenth of the limit or 4, then half as much again every 5 s while at least half of that is used and a window
since the last step was near the floor; less by a quarter for each window that was not. Where requests are too few for
windows, time alone decides. After 30 s without such a request it starts again. A dead primary must not take a small backup
with it.

Sources: Netflix concurrency-limits (AIMD, Gradient2, windows of 1 s and 10 samples, tolerance 1.5, no change below half),
Envoy's gradient controller (clamp at 0.5, the root of the limit as headroom), Linux tcp_is_cwnd_limited (twice what is
used in slow start, what is used afterwards). Every word is moved by compare-and-swap; a process killed in between costs
one step.
"""

from libc.math cimport sqrt
from libc.stdint cimport uint32_t, uint64_t
from native.io.atomics cimport add64, cas64, load64
from native.state.shared_state cimport SharedState, TargetRec, edge_cell, edge_cell_age_ms, edge_cell_ms

cdef enum:
    MS = 1_000_000
    REFUSED_EVERY_MS = 100
    WINDOW_MS = 1_000
    WINDOW_MOST_MS = 10_000
    WINDOW_SAMPLES = 10
    RAMP_STEP_MS = 5_000
    RAMP_SHRINK_MS = 1_000
    RAMP_IDLE_MS = 30_000
    SEEN_MS = 10_000            # a window that ended longer ago says nothing about now
    FALLEN = 2                  # the stamp's last bit says "no first token since"; a stamp of 0 or 1 is "never"

cdef double REFUSED_KEEPS = 0.9
cdef double SLOW_START_PRESSED = 0.5
cdef double PRESSED = 0.8
cdef double TOLERANCE = 1.5
cdef double CALM = 1.15             # up to here a delay is near its floor
cdef double GRADIENT_LEAST = 0.5
cdef double FLOOR_DOWN = 0.05
cdef double FLOOR_UP = 0.005
cdef double RAMP_SHARE = 0.1
cdef double RAMP_LEAST = 4.0
cdef double RAMP_GROWS = 1.5
cdef double RAMP_SHRINKS = 0.75
cdef double FLOAT_STEP = 1.2e-7     # a float32 does not see less than this share of itself


cdef double clamp(double value, double least, double most) noexcept nogil:
    return least if value < least else most if value > most else value


cdef uint32_t fallen_stamp(uint64_t now_ns, bint answered) noexcept nogil:
    """Milliseconds without the last bit, which says whether a first token has come since; never below FALLEN."""
    cdef uint32_t stamp = <uint32_t>(now_ns // MS) & ~<uint32_t>1
    return max(stamp, <uint32_t>FALLEN) | (not answered)


cdef double capacity_limit(TargetRec* rec, const Bounds* bounds) noexcept nogil:
    cdef uint64_t word
    if bounds.initial <= 0:
        return 0.0
    word = load64(&rec.limit)
    return clamp(edge_cell_ms(word) if word else bounds.initial, bounds.least, bounds.most)


cdef uint32_t window_ms(double floor_ms) noexcept nogil:
    """How long a window lasts at least: twice the floor, so that most of what began in it has come to its first token."""
    return <uint32_t>clamp(2.0 * floor_ms, WINDOW_MS, WINDOW_MOST_MS)


cdef bint strained(TargetRec* rec, uint64_t now_ns, double times) noexcept nogil:
    """Did first tokens take more than ``times`` the floor in the last window, if there was one lately?"""
    cdef uint64_t seen = load64(&rec.limit_seen)
    cdef double floor = edge_cell_ms(load64(&rec.limit_floor))
    return seen != 0 and edge_cell_age_ms(seen, now_ns // MS) <= SEEN_MS and edge_cell_ms(seen) > times * floor > 0


cdef void grow(TargetRec* rec, const Bounds* bounds, uint64_t now_ns, uint32_t inflight) noexcept nogil:
    """One first token's worth, and note that there was one since the limit fell."""
    cdef uint64_t word = load64(&rec.limit)
    cdef uint32_t stamp
    cdef double limit, more
    while True:
        stamp = <uint32_t>word
        limit = clamp(edge_cell_ms(word) if word else bounds.initial, bounds.least, bounds.most)
        more = 0.0
        if limit < bounds.most and not strained(rec, now_ns, TOLERANCE):
            if stamp < FALLEN:
                if inflight >= SLOW_START_PRESSED * limit:
                    more = 1.0
            elif inflight >= PRESSED * limit:
                more = max(1.0 / limit, limit * FLOAT_STEP)
        if more == 0.0 and not stamp & 1:
            return
        if cas64(&rec.limit, word, edge_cell(<float>min(limit + more, bounds.most), stamp & ~<uint32_t>1)):
            return
        word = load64(&rec.limit)


cdef void reckon(TargetRec* rec, const Bounds* bounds, uint64_t now_ns, double seen_ms, double floor_ms,
                 uint32_t inflight) noexcept nogil:
    """A window has ended: less if first tokens waited, a little more if they did not and the limit is in use."""
    cdef uint64_t word = load64(&rec.limit)
    cdef uint32_t stamp
    cdef double limit, gradient
    while True:
        stamp = <uint32_t>word
        limit = clamp(edge_cell_ms(word) if word else bounds.initial, bounds.least, bounds.most)
        if seen_ms > TOLERANCE * floor_ms:
            if inflight < SLOW_START_PRESSED * limit:
                return
            gradient = clamp(TOLERANCE * floor_ms / seen_ms, GRADIENT_LEAST, 1.0)
            limit = max(limit * gradient, bounds.least)
            stamp = fallen_stamp(now_ns, True)
        else:
            if stamp < FALLEN or inflight < PRESSED * limit:
                return
            limit = min(limit + sqrt(limit), bounds.most)
        if cas64(&rec.limit, word, edge_cell(<float>limit, stamp)):
            return
        word = load64(&rec.limit)


cdef void capacity_first(TargetRec* rec, const Bounds* bounds, uint64_t now_ns, uint64_t first_us, bint measured,
                         uint32_t inflight) noexcept nogil:
    cdef uint64_t word, total_us, count
    cdef uint32_t age_ms
    cdef double seen_ms, floor_ms
    grow(rec, bounds, now_ns, inflight)
    if not measured:
        return
    word = load64(&rec.limit_floor)
    if word == 0:
        cas64(&rec.limit_floor, 0, edge_cell(0.0, now_ns // MS))
        return
    age_ms = edge_cell_age_ms(word, now_ns // MS)
    if first_us // 1000 > age_ms:
        return          # it began before this window
    add64(&rec.limit_sum_us, first_us)
    count = add64(&rec.limit_count, 1)
    if count < WINDOW_SAMPLES or age_ms < window_ms(edge_cell_ms(word)):
        return
    total_us = load64(&rec.limit_sum_us)
    count = load64(&rec.limit_count)
    if count == 0:
        return          # another process is just ending this window
    seen_ms = <double>total_us / <double>count / 1000.0
    floor_ms = edge_cell_ms(word)
    if floor_ms <= 0:
        floor_ms = seen_ms
    else:
        floor_ms += (seen_ms - floor_ms) * (FLOOR_DOWN if seen_ms < floor_ms else FLOOR_UP)
    if not cas64(&rec.limit_floor, word, edge_cell(<float>floor_ms, now_ns // MS)):
        return          # ended by another
    add64(&rec.limit_sum_us, 0 - total_us)
    add64(&rec.limit_count, 0 - count)
    word = load64(&rec.limit_seen)
    cas64(&rec.limit_seen, word, edge_cell(<float>seen_ms, now_ns // MS))
    reckon(rec, bounds, now_ns, seen_ms, floor_ms, inflight)


cdef void capacity_refused(TargetRec* rec, const Bounds* bounds, uint64_t now_ns) noexcept nogil:
    cdef uint64_t word = load64(&rec.limit)
    cdef uint32_t stamp
    cdef double limit
    while True:
        stamp = <uint32_t>word
        if stamp >= FALLEN and (stamp & 1 or edge_cell_age_ms(word, now_ns // MS) < REFUSED_EVERY_MS):
            return
        if stamp < FALLEN and not load64(&rec.limit_floor):
            return      # it has never answered anybody
        limit = clamp(edge_cell_ms(word) if word else bounds.initial, bounds.least, bounds.most)
        limit = max(limit * REFUSED_KEEPS, bounds.least)
        if cas64(&rec.limit, word, edge_cell(<float>limit, fallen_stamp(now_ns, False))):
            return
        word = load64(&rec.limit)


cdef double ramp_start(double limit, uint32_t low) noexcept nogil:
    return <double>low + max(RAMP_SHARE * limit, RAMP_LEAST)


cdef double ramp_at(TargetRec* rec, uint64_t word, uint64_t now_ns, double limit, uint32_t low) noexcept nogil:
    """The ramp as it stands now, moved if it is time to; what ``word`` says as long as it is not."""
    cdef uint32_t age, seen_age
    cdef uint64_t seen = load64(&rec.limit_seen)
    cdef double value = edge_cell_ms(word)
    cdef bint known
    if word == 0:
        return ramp_start(limit, low)
    age = edge_cell_age_ms(word, now_ns // MS)
    if age >= RAMP_IDLE_MS:
        return ramp_start(limit, low)
    seen_age = edge_cell_age_ms(seen, now_ns // MS)
    known = seen != 0 and seen_age <= SEEN_MS
    if known and seen_age < age and age >= RAMP_SHRINK_MS and strained(rec, now_ns, TOLERANCE):
        return max(min(value, <double>low) * RAMP_SHRINKS, RAMP_LEAST)
    if age >= RAMP_STEP_MS and 2.0 * low >= value:
        if known and (
            seen_age + window_ms(edge_cell_ms(load64(&rec.limit_floor))) > age or strained(rec, now_ns, CALM)
        ):
            return value        # that window began before the last step, or it says that this is enough
        return min(value * RAMP_GROWS, max(limit, value))
    return value


cdef double capacity_spill(TargetRec* rec, uint64_t now_ns, double limit, uint32_t low) noexcept nogil:
    return ramp_at(rec, load64(&rec.spill), now_ns, limit, low)


cdef void capacity_spilled(TargetRec* rec, uint64_t now_ns, double limit, uint32_t low) noexcept nogil:
    cdef uint64_t word = load64(&rec.spill)
    cdef double value = ramp_at(rec, word, now_ns, limit, low)
    if <float>value != <float>edge_cell_ms(word) or edge_cell_age_ms(word, now_ns // MS) >= RAMP_IDLE_MS // 2:
        cas64(&rec.spill, word, edge_cell(<float>value, now_ns // MS))  # lost: another moved it just now


cdef class Capacity:
    """The learned limit of one target, for tests; ``first`` and ``refused`` are what attempts report."""

    cdef SharedState shared_state
    cdef TargetRec* rec
    cdef Bounds bounds

    def __init__(self, SharedState shared_state not None, int slot, double initial, double least, double most):
        if not 0 < least <= initial <= most:
            raise ValueError(f"0 < least <= initial <= most, not {least}, {initial}, {most}")
        self.rec = shared_state.target(slot)
        self.shared_state = shared_state
        self.bounds.initial = initial
        self.bounds.least = least
        self.bounds.most = most

    def limit(self):
        """Requests at once."""
        return capacity_limit(self.rec, &self.bounds)

    def first(self, uint64_t now_ns, uint64_t first_us, uint32_t inflight, bint measured=True):
        """``capacity_first`` from Python."""
        capacity_first(self.rec, &self.bounds, now_ns, first_us, measured, inflight)

    def refused(self, uint64_t now_ns):
        """``capacity_refused`` from Python."""
        capacity_refused(self.rec, &self.bounds, now_ns)

    def spill(self, uint64_t now_ns, uint32_t low):
        """``capacity_spill`` from Python."""
        return capacity_spill(self.rec, now_ns, capacity_limit(self.rec, &self.bounds), low)

    def spilled(self, uint64_t now_ns, uint32_t low):
        """``capacity_spilled`` from Python."""
        capacity_spilled(self.rec, now_ns, capacity_limit(self.rec, &self.bounds), low)
