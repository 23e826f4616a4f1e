"""Chooses the target of an attempt.

In this order; the first rule that gives a target applies:
1. A member that is due for its half-open trial, if this is the exchange's first attempt or no other member is usable.
2. The member that the caller is kept at, for the sake of its prompt cache, while it is usable, does not stand aside and
   has no more than twice its share of what is in flight in its tier, and a little.
3. A member that is drawn by weight, in the best tier with a usable member, or among those of it that the caller ranks
   best, unless it gives way to another one that is drawn (see below). A member in slow start stands aside with
   probability 1 - its share, if another member of its own or a later tier can take the attempt. So does a member that
   other regions report as unhealthy, with the weight that they have set.
4. If no member is usable: a member of the best tier that is full by its learned limit, while that rests on slow first
   tokens alone. They move requests to other members, but nothing is refused that a target would answer (see below).
5. If there is none either: a member whose circuit is open or on trial, once per open period each, and once a second if
   that period is longer. This trickle keeps the last target from being ejected for good, and helps where a trial takes
   as long as the answers do. It never picks a member that is drained, quarantined, rate-limited, full or tried.

A member is full if it has no place for the request's priority (0 high, 1 normal, 2 low). Its limit is the lower
one of the learned limit (native/balance/capacity) and ``max_inflight``; a member may have neither. Below four fifths of
the limit every priority is admitted. Above, the high priority is admitted, and another only while it has less than its
own share. So the shares cost nothing until the member is crowded. At the limit no priority is admitted, but where a
request has no other place, a member of the best tier is full only by its binding limit and ``max_inflight``. A member of a later
tier is also full when it has all the requests that it may take in place of a better tier (native/balance/spill); the low
priority may not use the last fifth of those.

Slowness is the latency: the peak-EWMA as the target's last answer left it; when that is 20 s ago it is the usual latency,
and after a minute nothing is known. Load = in flight / weight. Where the slowness of the two differs by less than a factor
of three, or that of one is not known, the first gives way if the second would have no higher load with this request than
the first has without it. So weights hold exactly where nothing is in flight, with equal weights the member with fewer
requests in flight is chosen, and under load the loads become equal. One request in flight at the lighter member is no load:
its load would be that of several at the other. Where attempts per success differ by more than a quarter, the member with
fewer attempts per success x (1 + load) is chosen. Where the slowness differs more, the cheaper of the two is: the one with
the lower slowness x attempts per success x (in flight + 1) / weight. A member of which nothing was ever known is quickest
while it is idle, and waits while it is busy.

Sources: Mitzenmacher 2001 (two choices), Finagle PeakEwma.scala (peak, an unknown host that is idle or already tried),
linkerd (10 s, failures as 5 s), Envoy's least request (unequal weights are drawn, and the load corrects). The factor of
attempts per success is edge's own: a target that fails fast has nothing in flight. With 60 requests in flight elsewhere,
a penalty of 5 s alone would still make it the cheapest. So is the band of equal slowness. Latencies of providers vary by a
factor of two from answer to answer, and the lighter of two members has fewer answers, so its peak is lower and its
average older. Without the band, weights would follow that.
"""

from libc.stdint cimport INT32_MAX, UINT64_MAX, uint32_t, uint64_t
from native.state.allowance cimport bounds_take, bounds_wait
from native.io.atomics cimport add64, load64
from native.state.callers cimport LOW
from native.state.shared_state cimport (
    EDGE_MAX_WORKERS, EDGE_WINDOW_BUCKETS, T_EXHAUSTED, TargetRec, WindowSum, edge_cell_age_ms, edge_cell_ms,
    edge_circuit_state, edge_circuit_until_ms, edge_remote_weight, edge_window_sum,
)
from native.balance.breaker cimport (
    RETRY_AFTER_MAX_NS, Admit, CircuitState, breaker_peek, breaker_report_target, breaker_return, breaker_slow,
    breaker_slow_start, breaker_take, fill_policy,
)
from native.balance.capacity cimport capacity_binding, capacity_limit
from native.balance.spill cimport spill_allowance, spill_ramp, spill_ramp_used, spill_used

cdef enum:
    MS = 1_000_000
    S = 1_000_000_000

cdef double FLOOR_MS = 0.05         # below this, differences are noise
cdef double ALIKE = 3.0             # slowness that differs by at most this factor counts as equal
cdef double ALIKE_TRIES = 1.25      # and attempts per success: one that fails every fourth request has less of the traffic
cdef double ASSUMED = 3.0           # successes that each member is taken to have had: among a few requests, one failure is chance
cdef uint64_t FRESH_MS = 20_000     # so long a latency tells how a target is now: two time constants of the average
cdef uint64_t KNOWN_MS = 60_000     # so long it tells how the target usually is; then it is asked again to find out
cdef double BUSY_UNKNOWN_MS = 1e9   # busy and without data: wait for the outcome of the first request
# So many times its share of what is in flight a member may have that has the prompt in its cache ("Consistent Hashing with
# Bounded Loads"). One that conversations are kept at may have more: beside a target that has just come back and has none
# yet, all others have more than their share, and what is moved there is paid for at the full price.
cdef double ROOM = 1.25
cdef double ROOM_KEPT = 2.0
cdef uint32_t ROOM_LEAST = 4        # ... and this many requests in any case: among few, shares say nothing
cdef double WORD = 4294967296.0
cdef double CROWDED = 0.8           # from this part of a limit on, shares count


cdef uint64_t mix(uint64_t value) noexcept nogil:
    """Derive more random bits from the caller's (splitmix64)."""
    value += 0x9E3779B97F4A7C15ULL
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9ULL
    value = (value ^ (value >> 27)) * 0x94D049BB133111EBULL
    return value ^ (value >> 31)


cdef double unit(uint64_t bits) noexcept nogil:
    return <double>(bits >> 11) / 9007199254740992.0    # 53 bits to [0, 1)


cdef bint within(TargetPool pool, int index, uint64_t members, double times) noexcept nogil:
    """Return whether a member has at most so many times its share of what ``members`` of its tier have in flight."""
    cdef uint32_t own = inflight_total(pool.recs[index], pool.workers)
    cdef double total = 0.0, weights = 0.0
    cdef int other
    if own < ROOM_LEAST:
        return True
    for other in range(pool.size):
        if members >> other & 1 and pool.tiers[other] == pool.tiers[index]:
            total += inflight_total(pool.recs[other], pool.workers)
            weights += pool.weights[other]
    return own + 1.0 <= times * (total + 1.0) * pool.weights[index] / weights + ROOM_LEAST


cdef double attempts_per_success(TargetRec* rec, uint64_t now_ns) noexcept nogil:
    cdef WindowSum window = edge_window_sum(&rec.own, now_ns // 1_000_000_000, EDGE_WINDOW_BUCKETS)
    # Successes are added to those of the window, so that a single failure does not make a target look ill.
    return (window.total + ASSUMED) / (window.total - window.failed + ASSUMED)


cdef class TargetPool:
    """The targets of a route. A lower tier number is preferred; a weight of 2 takes twice the share.

    Args:
        targets, tiers, weights: one entry per member, in the same order; at most 64.
        breaker: an object with the attributes of ``edge.terms.snapshot.Breaker``.
        workers: how many in-flight columns are in use.
        permit_ns: how long a trial keeps its permit if it reports no outcome.
        retry_after_max_ns: cap of a Retry-After that keeps a circuit open.
        shares: the parts of a limit for high, normal and low; None: all callers are of one priority.
        canaries: the places of the members that get their share by weight, whatever their latency.

    Raises:
        ValueError: more than 64 members, unequal lengths or numbers out of range.
    """

    def __init__(self, targets, tiers, weights, breaker, *, int workers, uint64_t permit_ns,
                 uint64_t retry_after_max_ns=RETRY_AFTER_MAX_NS, shares=None, canaries=()):
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
        fill_policy(&self.policy, breaker, permit_ns, retry_after_max_ns)
        for place in range(self.size):
            target = self.targets[place]
            if not weights[place] > 0:
                raise ValueError(f"the weight of {target.id} is above 0, not {weights[place]}")
            self.recs[place] = target.rec
            self.slots[place] = target.slot
            self.allowed[place] = NULL if target.allowance is None else &target.allowance.bounds
            self.caps[place] = target.max_inflight
            self.bounds[place] = target.bounds
            self.tiers[place] = tiers[place]
            self.weights[place] = weights[place]
        for place in range(self.size):
            alike = [weight for weight, tier in zip(weights, tiers) if tier == tiers[place]]
            self.load_each[place] = sum(alike) / len(alike) / weights[place]
            self.uneven = self.uneven or min(alike) != max(alike)
        self.best_tier = min(tiers) if self.size else 0
        self.rank_slack = -1.0
        self.canaries = 0
        for place in canaries:
            self.canaries |= <uint64_t>1 << self._checked(place)
        if shares is not None:
            if len(shares) != 3 or min(shares) < 0 or sum(shares) > 1.000001:
                raise ValueError(f"shares are three numbers from 0 to 1, together at most 1, not {shares}")
            self.shared = True
            for place in range(3):
                self.shares[place] = shares[place]
        self.workers = workers

    cdef Target target_at(self, int index):
        return <Target>self.targets[index]

    cdef bint spilled(self, int index) noexcept nogil:
        return self.tiers[index] > self.best_tier

    cdef double limit_of(self, int index, uint64_t now_ns, uint32_t inflight) noexcept nogil:
        return self.capped(index, capacity_limit(self.recs[index], &self.bounds[index], now_ns, inflight))

    cdef double capped(self, int index, double limit) noexcept nogil:
        if self.caps[index] and (limit <= 0 or limit > self.caps[index]):
            limit = self.caps[index]
        return limit

    cdef int crowded(self, int index, uint64_t now_ns, int priority) noexcept nogil:
        """Return BARRED_FULL or BARRED_RAMP if the member has no place for this priority, else USABLE."""
        cdef TargetRec* rec = self.recs[index]
        cdef uint32_t total = inflight_total(rec, self.workers)
        cdef double limit = self.limit_of(index, now_ns, total)
        cdef bint spilled = self.spilled(index)
        cdef double allowance
        cdef uint32_t own
        if 0 < limit < total + 1.0:
            return Barred.BARRED_FULL
        if spilled and self.bounds[index].learned:
            allowance = spill_allowance(rec, now_ns)
            if total + 1.0 > allowance:
                return Barred.BARRED_RAMP
            limit = min(limit, allowance) if limit > 0 else allowance
        if limit <= 0:
            return Barred.USABLE
        if priority == LOW and spilled:
            if total >= CROWDED * limit:
                return Barred.BARRED_FULL
            own = inflight_of(rec, LOW, self.workers)
            if own + 1.0 > spill_ramp(rec, now_ns, limit, own):
                return Barred.BARRED_RAMP
        elif self.outranked(index, limit, total, priority):
            return Barred.BARRED_FULL
        return Barred.USABLE

    cdef bint outranked(self, int index, double limit, uint32_t total, int priority) noexcept nogil:
        return (
            priority and self.shared and total >= CROWDED * limit
            and inflight_of(self.recs[index], priority, self.workers) >= self.shares[priority] * limit
        )

    cdef bint passes(self, int index, uint64_t now_ns, int priority) noexcept nogil:
        cdef TargetRec* rec = self.recs[index]
        cdef uint32_t total = inflight_total(rec, self.workers)
        cdef double limit
        if self.spilled(index) or not self.bounds[index].learned:
            return False
        limit = self.capped(index, capacity_binding(rec, &self.bounds[index], now_ns, total))
        return limit <= 0 or (total + 1.0 <= limit and not self.outranked(index, limit, total, priority))

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
        if self.caps[index] or self.bounds[index].learned:
            bar = self.crowded(index, now_ns, priority)
            if bar != Barred.USABLE:
                return bar
        admit[0] = breaker_peek(&rec.own, now_ns)
        if admit[0] != Admit.ADMIT_NO:
            return Barred.USABLE
        if edge_circuit_state(load64(&rec.own.circuit)) == CircuitState.HALF_OPEN:
            return Barred.BARRED_TRIAL
        return Barred.BARRED_OPEN

    cdef int barred(self, int index, uint64_t now_ns, uint64_t tried, int priority=1) noexcept:
        cdef int admit = 0
        return self.inspect(index, now_ns, tried, priority, &admit)

    cdef int aside(self, int index, uint64_t now_ns) noexcept nogil:
        if breaker_slow_start(&self.recs[index].own, &self.policy, now_ns) < 1.0:
            return Barred.ASIDE_SLOW_START
        if edge_remote_weight(load64(&self.recs[index].own.remote), now_ns // MS) < 1.0:
            return Barred.ASIDE_REGIONS
        return Barred.USABLE

    cdef bint roomy(self, int index, uint64_t members) noexcept nogil:
        return within(self, index, members, ROOM)

    cdef int member_of(self, int slot) noexcept nogil:
        cdef int index
        for index in range(self.size):
            if self.slots[index] == slot:
                return index
        return -1

    cdef double slowness(self, int index, uint64_t now_ns, int latency_cell, uint32_t pending) noexcept nogil:
        cdef TargetRec* rec = self.recs[index]
        cdef int cell = latency_cell & 1
        cdef uint64_t word = load64(&rec.ewma[cell])
        if word == 0:       # no data for this kind of answer, so use the data of the other kind
            cell = 1 - cell
            word = load64(&rec.ewma[cell])
        if word == 0:
            # An idle member without data costs next to nothing, as in Finagle. A fixed guess would starve a new or recovered
            # member beside siblings that answer faster than the guess.
            return BUSY_UNKNOWN_MS if pending else FLOOR_MS
        if edge_cell_age_ms(word, now_ns // MS) > FRESH_MS:
            word = load64(&rec.baseline[cell])
            if word == 0 or edge_cell_age_ms(word, now_ns // MS) > KNOWN_MS:
                return -1.0
        return max(edge_cell_ms(word), FLOOR_MS)

    cdef bint gives_way(self, int first, int second, uint64_t now_ns, int latency_cell) noexcept nogil:
        cdef uint32_t ours = inflight_total(self.recs[first], self.workers)
        cdef uint32_t theirs = inflight_total(self.recs[second], self.workers)
        cdef double slow = self.slowness(first, now_ns, latency_cell, ours)
        cdef double other = self.slowness(second, now_ns, latency_cell, theirs)
        cdef double tries = attempts_per_success(self.recs[first], now_ns)
        cdef double fewer = attempts_per_success(self.recs[second], now_ns)
        if slow >= 0 and other >= 0 and (slow > ALIKE * other or other > ALIKE * slow):
            slow *= tries * (ours + 1.0) * self.load_each[first]
            return slow > other * fewer * (theirs + 1.0) * self.load_each[second]
        if tries <= ALIKE_TRIES * fewer and fewer <= ALIKE_TRIES * tries:
            if ours <= 1 and self.load_each[first] > self.load_each[second]:
                return False
            return ours * self.load_each[first] >= (theirs + 1.0) * self.load_each[second]
        # not (in flight + 1) / weight: the first was drawn by weight already, and no weight makes up for failures
        return tries * (1.0 + ours * self.load_each[first]) > fewer * (1.0 + theirs * self.load_each[second])

    cdef int _drawn(self, const int* group, int count, double draw) noexcept nogil:
        """Return the place of a group that ``draw``, from 0 to the sum of its weights, falls to."""
        cdef int place
        for place in range(count - 1):
            draw -= self.weights[group[place]]
            if draw < 0:
                return place
        return count - 1

    cdef int take(self, int index, uint64_t now_ns, bint last_resort, Choice* out) noexcept nogil:
        out.admit = breaker_take(&self.recs[index].own, &self.policy, now_ns, last_resort, &out.generation)
        out.index = index if out.admit != Admit.ADMIT_NO else -1
        return out.admit

    cdef void pick(self, uint64_t now_ns, uint64_t rnd, uint64_t tried, int latency_cell, int priority, Choice* out,
                   uint64_t closed=0, int kept=-1) noexcept:
        self._pick(now_ns, rnd, tried, latency_cell, priority, out, closed, kept)
        self.rank_slack = -1.0
        if out.index >= 0:
            self.note(out.index, now_ns, priority)

    cdef void note(self, int index, uint64_t now_ns, int priority) noexcept nogil:
        """Record that a request is sent to a member."""
        cdef TargetRec* rec = self.recs[index]
        cdef uint32_t total = inflight_total(rec, self.workers)
        cdef double limit
        if self.spilled(index):
            limit = self.limit_of(index, now_ns, total)
            if self.bounds[index].learned:
                # Before this request is noted: the allowance starts from what was in flight before the spill.
                spill_used(rec, now_ns)
                limit = min(limit, spill_allowance(rec, now_ns)) if limit > 0 else spill_allowance(rec, now_ns)
            if priority == LOW and limit > 0:
                spill_ramp_used(rec, now_ns, limit, inflight_of(rec, LOW, self.workers))
        inflight_note(rec, now_ns, total + 1)

    cdef void _pick(self, uint64_t now_ns, uint64_t rnd, uint64_t tried, int latency_cell, int priority, Choice* out,
                    uint64_t closed, int kept) noexcept:
        cdef uint64_t usable = 0, due = 0, shut = 0, aside = 0, passing = 0, bit, candidates
        cdef int[64] group
        cdef int index, tier, count, first, second, best_tier, bar
        cdef int admit = 0
        cdef double share, weights
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
                if bar == Barred.BARRED_FULL and self.passes(index, now_ns, priority):
                    passing |= bit if breaker_peek(&self.recs[index].own, now_ns) == Admit.ADMIT_YES else 0
            elif bar == Barred.BARRED_EXHAUSTED:
                add64(&self.recs[index].count[<int>T_EXHAUSTED], 1)

        # 1. Trials. A retry does not take the risk of one while a proven target is left.
        if due and (tried == 0 or usable == 0) and self._take_first(due, now_ns, False, out):
            return

        # 2. and 3. Slow start, then the kept member, then a canary or two choices in the best tier.
        for index in range(self.size):
            bit = <uint64_t>1 << index
            if usable & bit:
                share = min(breaker_slow_start(&self.recs[index].own, &self.policy, now_ns),
                            edge_remote_weight(load64(&self.recs[index].own.remote), now_ns // MS))
                if share < 1.0 and unit(mix(rnd + <uint64_t>index)) >= share:
                    aside |= bit
        if kept >= 0 and usable & ~aside & (<uint64_t>1 << kept) and within(self, kept, usable, ROOM_KEPT) and (
            self.take(kept, now_ns, False, out) != Admit.ADMIT_NO
        ):
            return
        while usable:
            candidates = self._without(usable, aside)
            best_tier = INT32_MAX
            count = 0
            weights = 0.0
            for index in range(self.size):
                if candidates >> index & 1:
                    tier = self.tiers[index]
                    if tier < best_tier:
                        best_tier = tier
                        count = 0
                        weights = 0.0
                    if tier == best_tier:
                        group[count] = index
                        count += 1
                        weights += self.weights[index]
            if usable & self.canaries or self.rank_slack >= 0:
                if usable & self.canaries:
                    count = self._apart(group, count, unit(mix(~rnd)))
                if self.rank_slack >= 0:
                    count = self._best_ranked(group, count)
                weights = 0.0
                for index in range(count):
                    weights += self.weights[group[index]]
            first = 0
            if count > 1:
                if self.uneven:
                    first = self._drawn(group, count, <double>(rnd >> 32) / WORD * weights)
                else:
                    first = <int>((rnd >> 32) * <uint64_t>count >> 32)
                second = <int>((rnd & 0xFFFFFFFF) * <uint64_t>(count - 1) >> 32)
                second += second >= first
                if self.gives_way(group[first], group[second], now_ns, latency_cell):
                    first = second
            if self.take(group[first], now_ns, False, out) != Admit.ADMIT_NO:
                return
            usable &= ~(<uint64_t>1 << group[first])    # its circuit opened after it was inspected

        # 4. A member that is full by slow first tokens alone, then the trickle.
        if passing and self._take_passing(passing, now_ns, out):
            return
        if shut:
            self._take_first(shut, now_ns, True, out)

    cdef int _apart(self, int* group, int count, double draw) noexcept nogil:
        """Leave one canary of a group, or all that are none, by their weights; return how many these are.

        ``draw`` is from 0 to 1, 1 excluded."""
        cdef double weights = 0.0
        cdef int place, others = 0
        for place in range(count):
            weights += self.weights[group[place]]
        draw *= weights
        for place in range(count):
            if self.canaries >> group[place] & 1:
                draw -= self.weights[group[place]]
                if draw < 0:
                    group[0] = group[place]
                    return 1
        for place in range(count):
            if not self.canaries >> group[place] & 1:
                group[others] = group[place]
                others += 1
        return others if others else count

    cdef int _best_ranked(self, int* group, int count) noexcept nogil:
        """Leave only the members of a group whose rank is near the lowest; return how many these are."""
        cdef double least = self.rank[group[0]]
        cdef int place, left = 0
        for place in range(1, count):
            least = min(least, self.rank[group[place]])
        for place in range(count):
            if self.rank[group[place]] <= least + self.rank_slack:
                group[left] = group[place]
                left += 1
        return left

    cdef uint64_t _without(self, uint64_t usable, uint64_t aside) noexcept nogil:
        """Return ``usable`` without the members that stand aside for another member of the same or a later tier."""
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
        """Take the first of ``members`` whose breaker admits the attempt, best tier first."""
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

    cdef bint _take_passing(self, uint64_t members, uint64_t now_ns, Choice* out) noexcept nogil:
        """Take the member with the least load."""
        cdef int index, best = -1
        cdef double load, least = 0.0
        for index in range(self.size):
            load = inflight_total(self.recs[index], self.workers) * self.load_each[index]
            if members >> index & 1 and (best < 0 or load < least):
                best = index
                least = load
        if self.take(best, now_ns, False, out) == Admit.ADMIT_NO:
            return False
        out.full &= ~(<uint64_t>1 << best)
        return True

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
                continue        # the time is unknown
            when = max(load64(&rec.quarantined_until_ns), load64(&rec.rate_limited_until_ns))
            if bar == Barred.BARRED_EXHAUSTED:
                when = max(when, now_ns + bounds_wait(self.allowed[index], now_ns))
            word = load64(&rec.own.circuit)
            if edge_circuit_state(word) == CircuitState.OPEN:
                when = max(when, edge_circuit_until_ms(word) * <uint64_t>MS)
            elif edge_circuit_state(word) == CircuitState.HALF_OPEN:
                # the trial may end at any moment, at the latest when its permit expires
                when = max(when, min(edge_circuit_until_ms(word) * <uint64_t>MS, now_ns + self.policy.open_duration_ns))
            earliest = min(earliest, when)
        return earliest

    def choose(self, uint64_t now_ns, uint64_t rnd, uint64_t tried=0, int latency_cell=0, int priority=1, int kept=-1):
        """Return (index, admit, generation) of the chosen member; index -1 = none. Takes the permit of a trial.

        ``kept``: the member that the caller is kept at; -1 = none."""
        cdef Choice choice
        self.pick(now_ns, rnd, tried, latency_cell, self._rank(priority), &choice, 0, -1 if kept < 0 else self._checked(kept))
        return choice.index, choice.admit, choice.generation

    def why(self, int index, uint64_t now_ns, uint64_t tried=0, int priority=1):
        """Return the Barred code of a member for a priority; 0 = usable, as is a member that is due for its trial."""
        return self.barred(self._checked(index), now_ns, tried, self._rank(priority))

    def limit(self, int index, uint64_t now_ns):
        """Return a member's current limit of concurrent requests; 0.0 = no limit."""
        cdef TargetRec* rec = self.recs[self._checked(index)]
        return self.limit_of(index, now_ns, inflight_total(rec, self.workers))

    def earliest(self, uint64_t now_ns):
        """Return the monotonic ns when a member may be usable again; 0 = now, None = unknown."""
        cdef uint64_t when = self.earliest_ns(now_ns)
        return None if when == UINT64_MAX else when

    def report(self, int index, uint64_t now_ns, uint32_t generation, bint failed, bint trial=False, int key=-1,
               uint64_t retry_after_ns=0, uint64_t rnd=0):
        """Report an outcome; return the TripReason if this opened the circuit, -1 if this closed it, else 0."""
        return breaker_report_target(self.recs[self._checked(index)], &self.policy, now_ns, generation, failed, trial, key,
                                     retry_after_ns, rnd)

    def overdue(self, int index, uint64_t now_ns, uint32_t generation, bint trial=False, uint64_t rnd=0):
        """Report a slow call; return the TripReason if this opened the circuit, else 0."""
        return breaker_slow(&self.recs[self._checked(index)].own, &self.policy, now_ns, generation, trial, rnd)

    def give_back(self, int index, uint64_t now_ns, uint32_t generation):
        """Give a trial's permit back unused."""
        breaker_return(&self.recs[self._checked(index)].own, now_ns, generation)

    def take_one(self, int index, uint64_t now_ns, bint last_resort=False):
        """Admit an attempt at one member; return (admit, generation)."""
        cdef Choice choice
        choice.generation = 0
        self.take(self._checked(index), now_ns, last_resort, &choice)
        return choice.admit, choice.generation

    def slow_start(self, int index, uint64_t now_ns):
        """Return the share of its weight that a member may take in slow start: 0.1 to 1.0."""
        return breaker_slow_start(&self.recs[self._checked(index)].own, &self.policy, now_ns)

    cdef int _rank(self, int priority) except -1:
        if not 0 <= priority <= LOW:
            raise ValueError(f"a priority is 0 (high), 1 (normal) or 2 (low), not {priority}")
        return priority

    def decide(self, int times, uint64_t now_ns, uint64_t step_ns):
        """Make ``times`` decisions as the data path does for a request: pick, take from the credential's bucket if there
        is one, report a success. For benchmarks; returns how often a member was chosen."""
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
            breaker_report_target(
                self.recs[choice.index], &self.policy, now_ns, choice.generation, False, False, -1, 0, 0
            )
        return chosen

    cdef int _checked(self, int index) except -1:
        if not 0 <= index < self.size:
            raise IndexError(f"there is no member {index} in a pool of {self.size}")
        return index
