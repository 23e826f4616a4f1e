"""Learns how many concurrent requests a target can take. There is no limit until there is evidence of saturation.

Providers do not publish this number, so it is learned from refusals (loss) and from the time to first token (delay).
Without evidence there is no limit: a guessed limit would refuse traffic of a healthy target.

- **Evidence of loss**: a first refusal opens a block of 5 s. The block is evidence if it has 3 refusals (429, 503, 529,
  missed deadlines for the first byte or token), they are a tenth of its refusals and first tokens, and at least one
  first token has come after the first refusal. A target that answers no request has failed and is not full; the breaker
  deals with that. A single error says nothing about load, and a refused connection says nothing about capacity.
- **Evidence of delay**: 3 slow windows in a row (see delay.pyx), with at least 32 requests in flight and half of the
  recent highest. With fewer in flight, it is not this node's load that makes the target slow.
- **Evidence of collapse**: 3 slow windows in a row with at least 32 requests and a quarter more in flight than the best
  window had, and with at most seven tenths of its first tokens per second. The best window is the one that had the most of
  them and was not slow. It is forgotten by 1/100 per window.
- **The binding limit** is what a target is never sent more than, also where nothing else can take a request. Evidence of
  loss moves it as it moves the limit; evidence of collapse lowers it to what the best window had in flight. Slowness
  alone never does: a target that answers everything, only later than usual, is not full, and neither is it when this
  machine has no CPU time to read its answers. It grows and expires as the limit does; while first tokens
  are slow, only by 1/limit with each of them.
- **The limit** starts from what is in flight: nine tenths of it after loss, all of it after delay.
- **The limit falls** by a tenth with evidence of loss, at most every 100 ms. This uses the evidence up, so a target that
  answers no request costs one step. At the end of a slow window the limit falls in proportion to the excess, to no less
  than half; but not while less than half of the limit is in use.
- **The limit grows** while four fifths of it are in use, because success below the limit proves nothing: by 1/limit with
  each first token, and by the square root of the limit with each window that is not slow.
- **Evidence expires**: if the limit has not fallen for a minute, it is dropped if less than half of it is in use. If
  more is in use, it grows by one with each first token, which doubles it in each round of requests. To drop it then
  would send all waiting requests to the target at once.

Sources: Netflix concurrency-limits (AIMD, Gradient2: no change below half), Envoy's gradient controller (at most half
at once, the root of the limit as headroom), Linux tcp_is_cwnd_limited. Every word is moved by compare-and-swap; a
process that is killed in between costs one step.
"""

from libc.math cimport sqrt
from libc.stdint cimport uint32_t, uint64_t
from native.balance.delay cimport TOLERANCE, delay_exceeds, delay_observe
from native.balance.inflight cimport inflight_highest
from native.balance.spill cimport spill_first
from native.io.atomics cimport add64, cas64, load64, store64
from native.state.shared_state cimport (
    SharedState, TargetRec, edge_cell, edge_cell_age_ms, edge_cell_ms, edge_limit, edge_limit_is_old,
)

cdef enum:
    MS = 1_000_000
    BLOCK_MS = 5_000            # refusals and first tokens are compared within this time
    REFUSALS_LEAST = 3          # one or two may be chance
    REFUSALS_PART = 10          # evidence if at least one of so many is a refusal
    REFUSED_EVERY_MS = 100
    SLOW_WINDOWS = 3            # in a row: a burst that a busy node opens slows one or two
    DELAYED_LEAST = 32          # with fewer in flight, longer prompts explain a delay as well
    FIRSTS_BITS = 24            # for the first tokens since a window began; above them the sum of what was in flight
    FIRSTS_MASK = 0xFFFFFF
    FIRSTS_MOST = 0xFFFFF0      # some workers may pass it at once
    COUNT_MOST = 0xFFFF         # the maximum of each count in a block

cdef double REFUSED_KEEPS = 0.9
cdef double IN_USE = 0.5
cdef double PRESSED = 0.8
cdef double GRADIENT_LEAST = 0.5
cdef double RATE_FELL = 0.7         # of the best rate of first tokens: less is a fall, and no chance
cdef double RATE_KEEPS = 0.99       # per window: half of the best rate is forgotten after a minute or more
cdef double MORE_INFLIGHT = 1.25    # than the best window had: the target gets slower by having more
cdef double FLOAT_STEP = 1.2e-7     # relative resolution of a float32


cdef uint64_t limit_word(double limit, const Bounds* bounds, uint32_t stamp) noexcept nogil:
    return edge_cell(<float>max(limit, bounds.least), stamp)


cdef double capacity_limit(TargetRec* rec, const Bounds* bounds, uint64_t now_ns, uint32_t inflight) noexcept nogil:
    cdef uint64_t word
    cdef double limit
    if not bounds.learned:
        return 0.0
    word = load64(&rec.limit)
    if word == 0:
        return 0.0
    limit = edge_limit(word, now_ns // MS, inflight)
    if limit == 0.0:
        cas64(&rec.limit, word, 0)
        return 0.0
    return max(limit, bounds.least)


cdef double capacity_binding(TargetRec* rec, const Bounds* bounds, uint64_t now_ns, uint32_t inflight) noexcept nogil:
    cdef uint64_t word = load64(&rec.limit_binding) if bounds.learned else 0
    if word and edge_limit(word, now_ns // MS, inflight) == 0.0:
        cas64(&rec.limit_binding, word, 0)
        return 0.0
    return max(edge_cell_ms(word), bounds.least) if word else 0.0


cdef bint is_evidence(TargetRec* rec, uint64_t now_ns) noexcept nogil:
    """Count a refusal in the open block, or open a block; return whether the block is evidence of saturation."""
    cdef uint64_t word = load64(&rec.refusals)
    cdef uint64_t since_ms, refusals, answers
    while True:
        since_ms = word >> 32
        refusals = word >> 16 & COUNT_MOST
        answers = word & COUNT_MOST
        if word == 0 or edge_cell_age_ms(since_ms, now_ns // MS) >= BLOCK_MS:
            since_ms = <uint32_t>(now_ns // MS)
            refusals = 0
            answers = 0
        refusals += refusals < COUNT_MOST
        if cas64(&rec.refusals, word, since_ms << 32 | refusals << 16 | answers):
            return answers > 0 and refusals >= REFUSALS_LEAST and refusals * REFUSALS_PART >= refusals + answers
        word = load64(&rec.refusals)


cdef void count_answer(TargetRec* rec, uint64_t now_ns) noexcept nogil:
    """Count a first token in the open block, if there is one."""
    cdef uint64_t word = load64(&rec.refusals)
    while word and word & COUNT_MOST < COUNT_MOST and edge_cell_age_ms(word >> 32, now_ns // MS) < BLOCK_MS:
        if cas64(&rec.refusals, word, word + 1):
            return
        word = load64(&rec.refusals)


cdef void grow(uint64_t* cell, const Bounds* bounds, uint64_t now_ns, uint32_t inflight, bint slow) noexcept nogil:
    """Increase a limit by the step of one first token. An old one doubles in a round only where they are not slow."""
    cdef uint64_t word = load64(cell)
    cdef double limit, more
    while word:
        limit = max(edge_cell_ms(word), bounds.least)
        if not slow and edge_limit_is_old(word, now_ns // MS):
            if inflight < IN_USE * limit:
                return
            more = 1.0
        else:
            if inflight < PRESSED * limit:
                return
            more = 1.0 / limit
        more = max(more, limit * FLOAT_STEP)
        if cas64(cell, word, limit_word(limit + more, bounds, <uint32_t>word)):
            return
        word = load64(cell)


cdef void grow_window(uint64_t* cell, const Bounds* bounds, uint32_t inflight) noexcept nogil:
    """Increase a limit by the step of a window that is not slow."""
    cdef uint64_t word = load64(cell)
    cdef double limit
    while word:
        limit = max(edge_cell_ms(word), bounds.least)
        if inflight < PRESSED * limit or cas64(cell, word, limit_word(limit + sqrt(limit), bounds, <uint32_t>word)):
            return
        word = load64(cell)


cdef void note_rate(TargetRec* rec, const Bounds* bounds, uint64_t now_ns, uint32_t window_ms, bint slow) noexcept nogil:
    """Compare the first tokens per second of a window that has ended with those of the best one."""
    cdef uint64_t sums = load64(&rec.limit_firsts)
    cdef uint64_t firsts = sums & FIRSTS_MASK
    cdef uint32_t inflight = <uint32_t>((sums >> FIRSTS_BITS) // (firsts if firsts else 1))
    cdef uint64_t best = load64(&rec.limit_best)
    cdef double rate = 1000.0 * firsts / max(window_ms, 1)
    cdef double best_rate = edge_cell_ms(best)
    cdef uint32_t best_inflight = <uint32_t>best
    cdef uint64_t word
    add64(&rec.limit_firsts, 0 - sums)
    if not slow and rate >= best_rate:
        store64(&rec.limit_best, edge_cell(<float>rate, inflight))
    elif best:
        store64(&rec.limit_best, edge_cell(<float>(best_rate * RATE_KEEPS), best_inflight))
    if not slow or inflight < DELAYED_LEAST or inflight < MORE_INFLIGHT * best_inflight or rate > RATE_FELL * best_rate:
        store64(&rec.limit_fallen, 0)
        return
    if add64(&rec.limit_fallen, 1) >= SLOW_WINDOWS:
        word = load64(&rec.limit_binding)
        if word == 0 or edge_cell_ms(word) > best_inflight:
            cas64(&rec.limit_binding, word, limit_word(best_inflight, bounds, <uint32_t>(now_ns // MS)))


cdef void end_window(TargetRec* rec, const Bounds* bounds, uint64_t now_ns, uint32_t inflight) noexcept nogil:
    """Adjust the limit to the window that has just ended."""
    cdef uint64_t word = load64(&rec.limit)
    cdef double floor_ms = edge_cell_ms(load64(&rec.limit_floor))
    cdef double seen_ms = edge_cell_ms(load64(&rec.limit_seen))
    cdef uint64_t slow = load64(&rec.limit_slow)
    cdef uint32_t stamp
    cdef double limit
    while True:
        limit = max(edge_cell_ms(word), bounds.least)
        stamp = <uint32_t>(now_ns // MS)
        if slow and word == 0:
            if slow < SLOW_WINDOWS or inflight < DELAYED_LEAST or inflight < IN_USE * inflight_highest(rec, now_ns):
                return
            limit = inflight
        elif slow:
            if inflight < IN_USE * limit:
                return
            limit *= max(TOLERANCE * floor_ms / seen_ms, GRADIENT_LEAST)
        else:
            grow_window(&rec.limit, bounds, inflight)
            grow_window(&rec.limit_binding, bounds, inflight)
            return
        if cas64(&rec.limit, word, limit_word(limit, bounds, stamp)):
            return
        word = load64(&rec.limit)


cdef void capacity_first(TargetRec* rec, const Bounds* bounds, uint64_t now_ns, uint64_t first_us, bint measured,
                         uint32_t inflight) noexcept nogil:
    cdef bint slow = delay_exceeds(rec, now_ns, TOLERANCE)
    cdef uint32_t window_ms
    count_answer(rec, now_ns)
    spill_first(rec, now_ns, inflight)
    if not slow:
        grow(&rec.limit, bounds, now_ns, inflight, False)
    grow(&rec.limit_binding, bounds, now_ns, inflight, slow)
    if load64(&rec.limit_firsts) & FIRSTS_MASK < FIRSTS_MOST:
        add64(&rec.limit_firsts, <uint64_t>inflight << FIRSTS_BITS | 1)
    if measured:
        window_ms = edge_cell_age_ms(load64(&rec.limit_floor), now_ns // MS)
        if delay_observe(rec, now_ns, first_us):
            end_window(rec, bounds, now_ns, inflight)
            note_rate(rec, bounds, now_ns, window_ms, load64(&rec.limit_slow) != 0)


cdef void fall(uint64_t* cell, const Bounds* bounds, uint64_t now_ns, uint32_t inflight) noexcept nogil:
    """Lower a limit by the step of evidence of loss, or begin one."""
    cdef uint64_t word = load64(cell)
    cdef double limit = max(edge_cell_ms(word), bounds.least) if word else <double>inflight
    cas64(cell, word, limit_word(limit * REFUSED_KEEPS, bounds, <uint32_t>(now_ns // MS)))


cdef void capacity_refused(TargetRec* rec, const Bounds* bounds, uint64_t now_ns, uint32_t inflight) noexcept nogil:
    cdef uint64_t word = load64(&rec.limit)
    if word and edge_cell_age_ms(word, now_ns // MS) < REFUSED_EVERY_MS:
        return      # requests that were sent before the limit fell are still being refused
    if not is_evidence(rec, now_ns):
        return
    fall(&rec.limit, bounds, now_ns, inflight)
    fall(&rec.limit_binding, bounds, now_ns, inflight)
    store64(&rec.refusals, 0)


cdef class Capacity:
    """The learned limit of one target, for tests."""

    cdef SharedState shared_state
    cdef TargetRec* rec
    cdef Bounds bounds

    def __init__(self, SharedState shared_state not None, int slot, double least):
        if not least > 0:
            raise ValueError(f"the least limit is above 0, not {least}")
        self.rec = shared_state.target(slot)
        self.shared_state = shared_state
        self.bounds.learned = True
        self.bounds.least = least

    def limit(self, uint64_t now_ns, uint32_t inflight):
        """Return the limit; 0.0 = no limit."""
        return capacity_limit(self.rec, &self.bounds, now_ns, inflight)

    def binding(self, uint64_t now_ns, uint32_t inflight):
        """Return the limit that is never exceeded; 0.0 = none."""
        return capacity_binding(self.rec, &self.bounds, now_ns, inflight)

    def first(self, uint64_t now_ns, uint64_t first_us, uint32_t inflight, bint measured=True):
        """Record a first token."""
        capacity_first(self.rec, &self.bounds, now_ns, first_us, measured, inflight)

    def refused(self, uint64_t now_ns, uint32_t inflight):
        """Record a refusal or a missed deadline."""
        capacity_refused(self.rec, &self.bounds, now_ns, inflight)
