"""Which target takes this attempt?

In order, the first that applies:
1. a member due for its half-open trial, if this is the exchange's first attempt or nobody else is usable;
2. power of two choices over cost, in the best tier with a usable member. A member that has just recovered stands aside
   with probability 1 - ramp wherever somebody else, here or in a later tier, could take the attempt; so does one that
   other regions find ill, with the weight that they left it;
3. nobody usable: a member whose circuit is open or on trial, once per open period each, and once a second where that is
   longer (the trickle that keeps the last usable target from being ejected for good; and where answers take long, a
   trial's does too). Never one that is drained, quarantined, rate-limited, full or tried.

Full is a member that has no place for the request's priority class (0 high, 1 normal, 2 low). Its limit is what has been
learned (native/balance/capacity) or ``max_inflight``, whichever is less. Up to 4/5 of it anyone may in; above, the high class may,
and another only while it has less than its own share, so that shares cost nothing until it is crowded. At the limit nobody
may. In a tier after the first the low class also keeps out of the last fifth, and within the ramp of what is spilled.

cost = peak-EWMA of latency x (in flight + 1) x attempts per success / weight. Sources: Mitzenmacher 2001 (two choices),
Finagle PeakEwma.scala (peak, idle decay, an unknown host that is idle or already being tried), linkerd (10 s,
failures as 5 s). The attempts per success are ours: a target whose failures are quick has nothing in flight, so
that at 60 in flight elsewhere a latency of 5 s alone would still make it the cheapest.
"""

from libc.stdint cimport INT32_MAX, UINT64_MAX, uint32_t, uint64_t
from native.state.allowance cimport bounds_take, bounds_wait
from native.io.atomics cimport add32, add64, cas64, load32, load64, store64
from native.state.shared_state cimport (
    EDGE_EWMA_TAU_NS, EDGE_MAX_WORKERS, EDGE_WINDOW_BUCKETS, T_EXHAUSTED, SharedState, TargetRec, WindowSum, edge_cell,
    edge_cell_ms, edge_cell_weight, edge_circuit_state, edge_circuit_until_ms, edge_penalty_left, edge_remote_weight,
    edge_window_sum,
)
from native.balance.breaker cimport (
    Admit, CircuitState, breaker_peek, breaker_ramp, breaker_report, breaker_return, breaker_slow,
    breaker_take,
)
from native.balance.capacity cimport capacity_limit, capacity_spill, capacity_spilled

cdef enum:
    MS = 1_000_000
    S = 1_000_000_000

cdef double FLOOR_MS = 0.05         # below this, differences are noise and idle decay would make a target look free
cdef double BUSY_UNKNOWN_MS = 1e9   # no data and busy: one probe is out already, wait for what it says
cdef double SHORTEST_MS = 1e-3      # a cell of zero means no data
cdef double CROWDED = 0.8           # of a limit: from here on shares count, and what is spilled of the low class stays out
cdef enum:
    LOW = 2


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
    # For reports only, so that it does no harm if one of two processes overwrites the other: nothing is swapped here.
    cdef double sample = max(<double>latency_ns / MS, SHORTEST_MS)
    cdef uint64_t word = load64(penalty)
    if failed:
        if sample >= edge_penalty_left(word, now_ns // MS):
            store64(penalty, edge_cell(<float>sample, now_ns // MS))
    elif word and sample >= ewma_read(latency_cell, now_ns, EDGE_EWMA_TAU_NS):
        store64(penalty, 0)


cdef uint32_t inflight_total(TargetRec* rec, int workers) noexcept nogil:
    # A column cleared under an attempt that still ran dips below zero when it ends: that is none, not four billion.
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
        value = <int>load32(&rec.inflight_class[priority][place])
        total += value if value > 0 else 0
    return total


cdef uint64_t mix(uint64_t value) noexcept nogil:
    """splitmix64: further random bits from the caller's."""
    value += 0x9E3779B97F4A7C15ULL
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9ULL
    value = (value ^ (value >> 27)) * 0x94D049BB133111EBULL
    return value ^ (value >> 31)


cdef double unit(uint64_t bits) noexcept nogil:
    return <double>(bits >> 11) / 9007199254740992.0    # 53 bits to [0, 1)


cdef class Target:
    """One target as this worker sees it; ``plan`` is its part of the Snapshot and may hold a credential.

    Its limit is learned if ``plan.adaptive`` says so, within ``plan.concurrency`` (initial, least, most).
    """

    def __init__(self, SharedState shared_state not None, int slot, str id not None, uint32_t max_inflight=0, plan=None):
        self.rec = shared_state.target(slot)
        self.shared_state = shared_state
        self.slot = slot
        self.id = id
        self.max_inflight = max_inflight
        self.plan = plan
        if plan is not None and plan.adaptive:
            self.bounds.initial, self.bounds.least, self.bounds.most = plan.concurrency
            if not 0 < self.bounds.least <= self.bounds.initial <= self.bounds.most:
                raise ValueError(f"{id}: concurrency is initial, least and most, not {plan.concurrency}")

    def __repr__(self):
        return f"<Target {self.id} slot {self.slot}>"

    cdef void observe(self, int latency_cell, uint64_t now_ns, uint64_t latency_ns, bint failed) noexcept:
        if failed:
            latency_ns = max(latency_ns, <uint64_t>FAILURE_PENALTY_MS * MS)
        else:
            average_observe(&self.rec.baseline[latency_cell & 1], now_ns, latency_ns, <uint64_t>BASELINE_TAU_MS * MS)
            average_observe(&self.rec.measured[latency_cell & 1], now_ns, latency_ns, EDGE_EWMA_TAU_NS)
        penalty_observe(&self.rec.penalty[latency_cell & 1], &self.rec.ewma[latency_cell & 1], now_ns, latency_ns, failed)
        ewma_observe(&self.rec.ewma[latency_cell & 1], now_ns, latency_ns, EDGE_EWMA_TAU_NS)

    def record(self, int latency_cell, uint64_t now_ns, uint64_t latency_ns, bint failed=False):
        """``observe`` from Python."""
        self.observe(latency_cell, now_ns, latency_ns, failed)

    def latency_ms(self, int latency_cell, uint64_t now_ns):
        """The peak-EWMA of a cell, decayed to ``now_ns``; 0.0 = no data."""
        return ewma_read(&self.rec.ewma[latency_cell & 1], now_ns, EDGE_EWMA_TAU_NS)

    def enter(self, int worker, int priority=1):
        """Count one attempt in flight in that worker's column, of a priority class."""
        self._count(worker, priority, 1)

    def leave(self, int worker, int priority=1):
        """Count one attempt less."""
        self._count(worker, priority, -1)

    def _count(self, int worker, int priority, int more):
        if not 0 <= worker < EDGE_MAX_WORKERS:
            raise IndexError(f"there is no worker {worker}")
        if not 0 <= priority <= LOW:
            raise IndexError(f"there is no class {priority}")
        add32(&self.rec.inflight[worker], more)
        add32(&self.rec.inflight_class[priority][worker], more)

    def set_rate_limited(self, uint64_t until_ns):
        """Give the target no traffic until ``until_ns``, because it rate-limits us; the later deadline holds."""
        cdef uint64_t until = load64(&self.rec.rate_limited_until_ns)
        while until < until_ns and not cas64(&self.rec.rate_limited_until_ns, until, until_ns):
            until = load64(&self.rec.rate_limited_until_ns)


cdef class TargetPool:
    """Members in the order given; a lower tier number is preferred, a weight of 2 takes twice the share.

    ``breaker`` is any object with the attributes of ``edge.terms.snapshot.Breaker``; ``workers`` is how many in-flight
    columns to add up; ``shares`` of a limit are what high, normal and low may count on (None: no class is told apart,
    because there is only one). Raises ValueError for more than 64 members, unequal lengths or numbers out of range.
    """

    def __init__(self, targets, tiers, weights, breaker, *, int workers, uint64_t permit_ns,
                 uint64_t retry_after_max_ns=300_000_000_000, shares=None):
        cdef int place
        cdef Target target
        self.targets = list(targets)
        self.size = len(self.targets)
        if self.size > 64:
            raise ValueError(f"a pool holds at most 64 targets, not {self.size}")
        if len(tiers) != self.size or len(weights) != self.size:
            raise ValueError("a pool needs one tier and one weight for each target")
        if not 1 <= workers <= EDGE_MAX_WORKERS:
            raise ValueError(f"workers is 1 to {EDGE_MAX_WORKERS}, not {workers}")
        if not S <= breaker.window_ns <= 10 * <uint64_t>S:
            raise ValueError(f"the breaker's window is 1 to 10 seconds, not {breaker.window_ns / S:g}")
        for place in range(self.size):
            target = self.targets[place]
            if not weights[place] > 0:
                raise ValueError(f"the weight of {target.id} is above 0, not {weights[place]}")
            self.recs[place] = target.rec
            self.allowed[place] = NULL if target.allowance is None else &target.allowance.bounds
            self.caps[place] = target.max_inflight
            self.bounds[place] = target.bounds
            self.tiers[place] = tiers[place]
            self.weights[place] = weights[place]
        self.best_tier = min(tiers) if self.size else 0
        if shares is not None:
            if len(shares) != 3 or min(shares) < 0 or sum(shares) > 1.000001:
                raise ValueError(f"shares are three numbers from 0 to 1, together at most 1, not {shares}")
            self.shared = True
            for place in range(3):
                self.shares[place] = shares[place]
        self.workers = workers
        self.policy.consecutive_failures = breaker.consecutive_failures
        self.policy.min_requests = breaker.min_requests
        self.policy.failure_ratio = breaker.failure_ratio
        self.policy.slow_ratio = breaker.slow_ratio
        self.policy.slow_threshold_ns = breaker.slow_threshold_ns
        self.policy.slow_adaptive = breaker.slow_adaptive
        self.policy.window_s = breaker.window_ns // S
        self.policy.open_duration_ns = breaker.open_duration_ns
        self.policy.open_duration_max_ns = breaker.open_duration_max_ns
        self.policy.slow_start_ns = breaker.slow_start_ns
        self.policy.permit_ns = permit_ns
        self.policy.retry_after_max_ns = retry_after_max_ns

    cdef Target target_at(self, int index):
        return <Target>self.targets[index]

    cdef bint spilled(self, int index) noexcept nogil:
        return self.tiers[index] > self.best_tier

    cdef double limit_of(self, int index) noexcept nogil:
        cdef double limit = capacity_limit(self.recs[index], &self.bounds[index])
        if self.caps[index] and (limit <= 0 or limit > self.caps[index]):
            limit = self.caps[index]
        return limit

    cdef int crowded(self, int index, uint64_t now_ns, int priority) noexcept nogil:
        """Barred for want of a place for this class, or not."""
        cdef TargetRec* rec = self.recs[index]
        cdef double limit = self.limit_of(index)
        cdef double total, own
        if limit <= 0:
            return Barred.USABLE
        total = inflight_total(rec, self.workers)
        if total + 1.0 > limit:
            return Barred.BARRED_FULL
        if priority == LOW and self.spilled(index):
            if total >= CROWDED * limit:
                return Barred.BARRED_FULL
            own = inflight_of(rec, LOW, self.workers)
            if own + 1.0 > capacity_spill(rec, now_ns, limit, <uint32_t>own):
                return Barred.BARRED_RAMP
        elif priority and self.shared and total >= CROWDED * limit:
            if inflight_of(rec, priority, self.workers) >= self.shares[priority] * limit:
                return Barred.BARRED_FULL
        return Barred.USABLE

    cdef int inspect(self, int index, uint64_t now_ns, uint64_t tried, int priority, int* admit) noexcept nogil:
        cdef TargetRec* rec = self.recs[index]
        cdef int bar
        admit[0] = Admit.ADMIT_NO
        if tried >> index & 1:
            return Barred.BARRED_TRIED
        if load64(&rec.manual):
            return Barred.BARRED_MANUAL
        if load64(&rec.quarantined_until_ns) > now_ns:
            return Barred.BARRED_QUARANTINED
        if load64(&rec.rate_limited_until_ns) > now_ns:
            return Barred.BARRED_RATE_LIMITED
        if self.allowed[index] != NULL and bounds_wait(self.allowed[index], now_ns):
            return Barred.BARRED_EXHAUSTED
        if self.caps[index] or self.bounds[index].initial > 0:
            bar = self.crowded(index, now_ns, priority)
            if bar != Barred.USABLE:
                return bar
        admit[0] = breaker_peek(rec, now_ns)
        if admit[0] != Admit.ADMIT_NO:
            return Barred.USABLE
        if edge_circuit_state(load64(&rec.circuit)) == CircuitState.HALF_OPEN:
            return Barred.BARRED_TRIAL
        return Barred.BARRED_OPEN

    cdef int barred(self, int index, uint64_t now_ns, uint64_t tried, int priority=1) noexcept:
        cdef int admit = 0
        return self.inspect(index, now_ns, tried, priority, &admit)

    cdef int aside(self, int index, uint64_t now_ns) noexcept nogil:
        if breaker_ramp(self.recs[index], &self.policy, now_ns) < 1.0:
            return Barred.ASIDE_RAMPING
        if edge_remote_weight(load64(&self.recs[index].remote), now_ns // MS) < 1.0:
            return Barred.ASIDE_REGIONS
        return Barred.USABLE

    cdef double cost(self, int index, uint64_t now_ns, int latency_cell) noexcept nogil:
        cdef TargetRec* rec = self.recs[index]
        cdef WindowSum window = edge_window_sum(rec, now_ns // 1_000_000_000, EDGE_WINDOW_BUCKETS)
        cdef uint32_t pending = inflight_total(rec, self.workers)
        cdef double ms = ewma_read(&rec.ewma[latency_cell & 1], now_ns, EDGE_EWMA_TAU_NS)
        if ms <= 0:     # never asked in this way: what is known of the other way beats knowing nothing
            ms = ewma_read(&rec.ewma[1 - (latency_cell & 1)], now_ns, EDGE_EWMA_TAU_NS)
        if ms <= 0:
            # Idle and unknown costs nothing, as Finagle has it. Any fixed guess starves a new or recovered member
            # beside siblings that answer faster than the guess.
            ms = BUSY_UNKNOWN_MS if pending else 0.0
        ms = max(ms, FLOOR_MS) * (<double>pending + 1.0) / self.weights[index]
        # One success is assumed on top of the window's, so that a single failure does not weigh like a dead target.
        return ms * (<double>window.total + 1.0) / (<double>(window.total - window.failed) + 1.0)

    cdef int take(self, int index, uint64_t now_ns, bint last_resort, Choice* out) noexcept nogil:
        out.admit = breaker_take(self.recs[index], &self.policy, now_ns, last_resort, &out.generation)
        out.index = index if out.admit != Admit.ADMIT_NO else -1
        return out.admit

    cdef void pick(self, uint64_t now_ns, uint64_t rnd, uint64_t tried, int latency_cell, int priority, Choice* out,
                   uint64_t closed=0) noexcept:
        cdef TargetRec* rec
        self._pick(now_ns, rnd, tried, latency_cell, priority, out, closed)
        if priority == LOW and out.index >= 0 and self.spilled(out.index) and self.limit_of(out.index) > 0:
            rec = self.recs[out.index]
            capacity_spilled(rec, now_ns, self.limit_of(out.index), inflight_of(rec, LOW, self.workers))

    cdef void _pick(self, uint64_t now_ns, uint64_t rnd, uint64_t tried, int latency_cell, int priority, Choice* out,
                    uint64_t closed) noexcept:
        cdef uint64_t usable = 0, due = 0, shut = 0, aside = 0, bit, candidates
        cdef int[64] group
        cdef int index, tier, count, first, second, best_tier, bar
        cdef int admit = 0
        cdef double share
        out.index = -1
        out.admit = Admit.ADMIT_NO
        out.generation = 0
        out.full = 0
        for index in range(self.size):
            bit = <uint64_t>1 << index
            bar = self.inspect(index, now_ns, tried | closed, priority, &admit)
            if admit == Admit.ADMIT_YES:
                usable |= bit
            elif admit == Admit.ADMIT_TRIAL:
                due |= bit
            elif bar == Barred.BARRED_OPEN or bar == Barred.BARRED_TRIAL:
                shut |= bit
            elif bar == Barred.BARRED_FULL or bar == Barred.BARRED_RAMP:
                out.full |= bit
            elif bar == Barred.BARRED_EXHAUSTED:
                add64(&self.recs[index].count[<int>T_EXHAUSTED], 1)

        # 1. trials. A retry does not gamble on one while a proven target is left.
        if due and (tried == 0 or usable == 0) and self._take_first(due, now_ns, False, out):
            return

        # 2. slow start, then two choices in the best tier
        for index in range(self.size):
            bit = <uint64_t>1 << index
            if usable & bit:
                share = min(breaker_ramp(self.recs[index], &self.policy, now_ns),
                            edge_remote_weight(load64(&self.recs[index].remote), now_ns // MS))
                if share < 1.0 and unit(mix(rnd + <uint64_t>index)) >= share:
                    aside |= bit
        while usable:
            candidates = self._without(usable, aside)
            best_tier = INT32_MAX
            count = 0
            for index in range(self.size):
                if candidates >> index & 1:
                    tier = self.tiers[index]
                    if tier < best_tier:
                        best_tier = tier
                        count = 0
                    if tier == best_tier:
                        group[count] = index
                        count += 1
            first = <int>((rnd >> 32) * <uint64_t>count >> 32)
            if count > 1:
                second = <int>((rnd & 0xFFFFFFFF) * <uint64_t>(count - 1) >> 32)
                second += second >= first
                if self.cost(group[second], now_ns, latency_cell) < self.cost(group[first], now_ns, latency_cell):
                    first = second
            if self.take(group[first], now_ns, False, out) != Admit.ADMIT_NO:
                return
            usable &= ~(<uint64_t>1 << group[first])    # opened between the look and the take

        # 3. the trickle
        if shut:
            self._take_first(shut, now_ns, True, out)

    cdef uint64_t _without(self, uint64_t usable, uint64_t aside) noexcept nogil:
        """``usable`` less those that stand aside for somebody else in their own or a later tier."""
        cdef uint64_t staying = usable & ~aside
        cdef int index, last = -1
        for index in range(self.size):
            if staying >> index & 1 and self.tiers[index] > last:
                last = self.tiers[index]
        for index in range(self.size):
            if usable & aside & (<uint64_t>1 << index) and self.tiers[index] > last:
                staying |= <uint64_t>1 << index
        return staying

    cdef bint _take_first(self, uint64_t members, uint64_t now_ns, bint last_resort, Choice* out) noexcept nogil:
        """Take the first of ``members`` that its breaker lets go, best tier first."""
        cdef int index, best
        while members:
            best = -1
            for index in range(self.size):
                if members >> index & 1 and (best < 0 or self.tiers[index] < self.tiers[best]):
                    best = index
            if self.take(best, now_ns, last_resort, out) != Admit.ADMIT_NO:
                return True
            members &= ~(<uint64_t>1 << best)
        return False

    cdef uint64_t earliest_ns(self, uint64_t now_ns) noexcept:
        cdef uint64_t earliest = UINT64_MAX, when, word
        cdef TargetRec* rec
        cdef int index, bar
        cdef int admit = 0
        for index in range(self.size):
            rec = self.recs[index]
            bar = self.inspect(index, now_ns, 0, 1, &admit)
            if bar == Barred.USABLE:
                return 0
            if bar == Barred.BARRED_MANUAL or bar == Barred.BARRED_FULL or bar == Barred.BARRED_RAMP:
                continue        # nobody knows when
            when = max(load64(&rec.quarantined_until_ns), load64(&rec.rate_limited_until_ns))
            if bar == Barred.BARRED_EXHAUSTED:
                when = max(when, now_ns + bounds_wait(self.allowed[index], now_ns))
            word = load64(&rec.circuit)
            if edge_circuit_state(word) == CircuitState.OPEN:
                when = max(when, edge_circuit_until_ms(word) * <uint64_t>MS)
            elif edge_circuit_state(word) == CircuitState.HALF_OPEN:
                # the trial may end at any moment, and at the latest when its permit lapses
                when = max(when, min(edge_circuit_until_ms(word) * <uint64_t>MS, now_ns + self.policy.open_duration_ns))
            earliest = min(earliest, when)
        return earliest

    def choose(self, uint64_t now_ns, uint64_t rnd, uint64_t tried=0, int latency_cell=0, int priority=1):
        """``pick`` from Python: (index, admit, generation); index -1 = none. Takes the permit if it is a trial."""
        cdef Choice choice
        self.pick(now_ns, rnd, tried, latency_cell, self._class(priority), &choice)
        return choice.index, choice.admit, choice.generation

    def why(self, int index, uint64_t now_ns, uint64_t tried=0, int priority=1):
        """The Barred code of a member for a class; 0 = usable (a member due for its trial is)."""
        return self.barred(self._checked(index), now_ns, tried, self._class(priority))

    def limit(self, int index):
        """Requests at once that a member takes now; 0.0 = no bound."""
        return self.limit_of(self._checked(index))

    def earliest(self, uint64_t now_ns):
        """Monotonic ns when some member may be usable again; 0 = now, None = unknown."""
        cdef uint64_t when = self.earliest_ns(now_ns)
        return None if when == UINT64_MAX else when

    def report(self, int index, uint64_t now_ns, uint32_t generation, bint failed, bint trial=False, int key=-1,
               uint64_t retry_after_ns=0, uint64_t rnd=0):
        """``breaker_report`` from Python: the TripReason if this opened the circuit, -1 if it closed it, else 0."""
        return breaker_report(self.recs[self._checked(index)], &self.policy, now_ns, generation, failed, trial, key,
                              retry_after_ns, rnd)

    def overdue(self, int index, uint64_t now_ns, uint32_t generation, bint trial=False, uint64_t rnd=0):
        """``breaker_slow`` from Python: the TripReason if this opened the circuit, else 0."""
        return breaker_slow(self.recs[self._checked(index)], &self.policy, now_ns, generation, trial, rnd)

    def give_back(self, int index, uint64_t now_ns, uint32_t generation):
        """``breaker_return`` from Python."""
        breaker_return(self.recs[self._checked(index)], now_ns, generation)

    def take_one(self, int index, uint64_t now_ns, bint last_resort=False):
        """``breaker_take`` of one member from Python: (admit, generation)."""
        cdef Choice choice
        choice.generation = 0
        self.take(self._checked(index), now_ns, last_resort, &choice)
        return choice.admit, choice.generation

    def ramp(self, int index, uint64_t now_ns):
        """The share of its weight that a member may take: 0.1 to 1.0."""
        return breaker_ramp(self.recs[self._checked(index)], &self.policy, now_ns)

    cdef int _class(self, int priority) except -1:
        if not 0 <= priority <= LOW:
            raise ValueError(f"a priority class is 0 (high), 1 (normal) or 2 (low), not {priority}")
        return priority

    def decide(self, int times, uint64_t now_ns, uint64_t step_ns):
        """What the data path decides for a request, so often in compiled code: pick, take from the credential's bucket
        where there is one, report a success. For measuring; returns how often somebody was chosen."""
        cdef Choice choice
        cdef uint64_t wait = 0
        cdef Target target
        cdef int chosen = 0
        cdef int turn
        for turn in range(times):
            now_ns += step_ns
            self.pick(now_ns, mix(<uint64_t>turn), 0, 0, 1, &choice)
            if choice.index < 0:
                continue
            target = self.target_at(choice.index)
            if target.allowance is not None and bounds_take(&target.allowance.bounds, now_ns, 0, &wait):
                continue
            chosen += 1
            breaker_report(self.recs[choice.index], &self.policy, now_ns, choice.generation, False, False, -1, 0, 0)
        return chosen

    cdef int _checked(self, int index) except -1:
        if not 0 <= index < self.size:
            raise IndexError(f"there is no member {index} in a pool of {self.size}")
        return index
