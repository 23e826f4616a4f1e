"""Limits the requests that a target receives in place of a better tier, so that a failover does not overload it.

- **The allowance** is for requests of every priority. It starts at twice the recent highest number in flight, at least 64.
  It grows by one with each first token while half of it is in use and the target is not slow, so it doubles with each
  round of requests. After 30 s without such a request it starts again.
- **The ramp** is for the low priority, and lies below the allowance. It starts at a tenth of the limit or 4 requests. It
  grows by half every 5 s, while at least half of it is in use and a window since its last step was near the floor (see
  delay.pyx). It shrinks by a quarter with each slow window. If there are too few requests for windows, only the time
  counts. After 30 s without such a request it starts again.

A target of the best tier has neither, and a target whose limit is not learned has neither. Every word is moved by
compare-and-swap; a process that is killed in between costs one step.
"""

from libc.stdint cimport uint32_t, uint64_t
from native.balance.delay cimport SEEN_MS, TOLERANCE, delay_exceeds, delay_window_ms
from native.balance.inflight cimport inflight_highest, inflight_note
from native.io.atomics cimport cas64, load64
from native.state.shared_state cimport SharedState, TargetRec, edge_cell, edge_cell_age_ms, edge_cell_ms

cdef enum:
    MS = 1_000_000
    IDLE_MS = 30_000            # without use for this long, allowance and ramp start again
    RAMP_STEP_MS = 5_000
    RAMP_SHRINK_MS = 1_000

cdef double ALLOWANCE_TIMES = 2.0   # of the recent highest: the load that the target is known to take, and as much again
cdef double ALLOWANCE_LEAST = 64.0
cdef double IN_USE = 0.5
cdef double NEAR_FLOOR = 1.15       # up to this multiple of the floor, first tokens count as near it
cdef double RAMP_SHARE = 0.1
cdef double RAMP_LEAST = 4.0
cdef double RAMP_GROWS = 1.5
cdef double RAMP_SHRINKS = 0.75


cdef bint is_idle(uint64_t word, uint64_t now_ns) noexcept nogil:
    return word == 0 or edge_cell_age_ms(word, now_ns // MS) >= IDLE_MS


cdef double spill_allowance(TargetRec* rec, uint64_t now_ns) noexcept nogil:
    cdef uint64_t word = load64(&rec.allowance)
    if is_idle(word, now_ns):
        return max(ALLOWANCE_TIMES * inflight_highest(rec, now_ns), ALLOWANCE_LEAST)
    return edge_cell_ms(word)


cdef void spill_used(TargetRec* rec, uint64_t now_ns) noexcept nogil:
    cdef uint64_t word = load64(&rec.allowance)
    # The stamp is renewed only now and then, so that a busy target's word is not written with each request.
    if word == 0 or edge_cell_age_ms(word, now_ns // MS) >= IDLE_MS // 2:
        cas64(&rec.allowance, word, edge_cell(<float>spill_allowance(rec, now_ns), now_ns // MS))


cdef void spill_first(TargetRec* rec, uint64_t now_ns, uint32_t inflight) noexcept nogil:
    cdef uint64_t word = load64(&rec.allowance)
    cdef double value
    if is_idle(word, now_ns) or delay_exceeds(rec, now_ns, TOLERANCE):
        return
    while not is_idle(word, now_ns):
        value = edge_cell_ms(word)
        if inflight < IN_USE * value or cas64(&rec.allowance, word, edge_cell(<float>(value + 1.0), <uint32_t>word)):
            return
        word = load64(&rec.allowance)


cdef double ramp_start(double limit, uint32_t low) noexcept nogil:
    return <double>low + max(RAMP_SHARE * limit, RAMP_LEAST)


cdef double ramp_at(TargetRec* rec, uint64_t word, uint64_t now_ns, double limit, uint32_t low) noexcept nogil:
    """Return the current ramp: ``word``'s value, or the next value if it is time for a step."""
    cdef uint32_t age, seen_age
    cdef uint64_t seen = load64(&rec.limit_seen)
    cdef double value = edge_cell_ms(word)
    cdef bint known
    if is_idle(word, now_ns):
        return ramp_start(limit, low)
    age = edge_cell_age_ms(word, now_ns // MS)
    seen_age = edge_cell_age_ms(seen, now_ns // MS)
    known = seen != 0 and seen_age <= SEEN_MS
    if known and seen_age < age and age >= RAMP_SHRINK_MS and delay_exceeds(rec, now_ns, TOLERANCE):
        return max(min(value, <double>low) * RAMP_SHRINKS, RAMP_LEAST)
    if age >= RAMP_STEP_MS and 2.0 * low >= value:
        if known and (
            seen_age + delay_window_ms(edge_cell_ms(load64(&rec.limit_floor))) > age or delay_exceeds(rec, now_ns, NEAR_FLOOR)
        ):
            return value        # the last window began before the last step, or shows that this is enough
        return min(value * RAMP_GROWS, max(limit, value))
    return value


cdef double spill_ramp(TargetRec* rec, uint64_t now_ns, double limit, uint32_t low) noexcept nogil:
    return ramp_at(rec, load64(&rec.spill), now_ns, limit, low)


cdef void spill_ramp_used(TargetRec* rec, uint64_t now_ns, double limit, uint32_t low) noexcept nogil:
    cdef uint64_t word = load64(&rec.spill)
    cdef double value = ramp_at(rec, word, now_ns, limit, low)
    if <float>value != <float>edge_cell_ms(word) or edge_cell_age_ms(word, now_ns // MS) >= IDLE_MS // 2:
        cas64(&rec.spill, word, edge_cell(<float>value, now_ns // MS))  # on failure, another process moved it


cdef class Spill:
    """The limits of one target in a later tier, for tests."""

    cdef SharedState shared_state
    cdef TargetRec* rec

    def __init__(self, SharedState shared_state not None, int slot):
        self.rec = shared_state.target(slot)
        self.shared_state = shared_state

    def note(self, uint64_t now_ns, uint32_t inflight):
        """Record the current number in flight."""
        inflight_note(self.rec, now_ns, inflight)

    def allowance(self, uint64_t now_ns):
        """Return the allowance of all priorities."""
        return spill_allowance(self.rec, now_ns)

    def used(self, uint64_t now_ns):
        """Record that a request is sent in place of a better tier."""
        spill_used(self.rec, now_ns)

    def first(self, uint64_t now_ns, uint32_t inflight):
        """Record a first token."""
        spill_first(self.rec, now_ns, inflight)

    def ramp(self, uint64_t now_ns, double limit, uint32_t low):
        """Return the ramp of the low priority."""
        return spill_ramp(self.rec, now_ns, limit, low)

    def ramp_used(self, uint64_t now_ns, double limit, uint32_t low):
        """Record that a request of the low priority is sent in place of a better tier."""
        spill_ramp_used(self.rec, now_ns, limit, low)
