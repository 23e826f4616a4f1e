cimport cython
from libc.stdint cimport INT32_MAX
from native.balance.balancer cimport (
    ASIDE_KEPT, BARRED_CAPABILITY, BARRED_EXHAUSTED, BARRED_FULL, BARRED_OPEN, BARRED_QUARANTINED, BARRED_RATE_LIMITED,
    BARRED_TRIAL, Target, TargetPool, inflight_total,
)
from native.balance.breaker cimport ADMIT_TRIAL, breaker_return, circuit_until_ns
from native.balance.capability cimport (
    capability_barred, capability_return, capability_share, capability_take, needed_of,
)
from native.balance.preference cimport PREFER_COST, PREFER_LATENCY, rank_by_cost, rank_by_latency
from native.codec.field_rules cimport field_value
from native.io.atomics cimport add64, load32, load64
from native.io.clock cimport event_time_ns, monotonic_ns
from native.proxy.hooks import TargetState
from native.proxy.affinity cimport new_affinity, remember_first
from native.proxy.issuer import ISSUED_ELSEWHERE
from native.proxy.model_request cimport ModelRequest
from native.proxy.request cimport MOST_HOPS
from native.proxy.runtime cimport NEVER
from native.proxy.steps cimport Event
from native.state.allowance cimport bounds_take, bounds_wait
from native.state.callers cimport LOW
from native.state.issued_ids cimport rendezvous_rank
from native.state.shared_state cimport A_REQUESTS, T_EXHAUSTED, T_FULL, TargetRec, edge_answered

# The reason of a region that is not asked now, where its own targets are not rate-limited.
cdef int NOT_ITS_RATE = 1
# The low priority gets more places only in steps of this length (native/balance/spill): an earlier retry would fail.
cdef double RAMP_STEP_S = 5.0
# Characters of what a record says of an excluded target: a request may have many fields that a dialect lacks.
cdef Py_ssize_t NOTE_LIMIT = 300


cdef int reason_of(TargetRec* rec, int barred) noexcept:
    """Return the TripReason of an open circuit, or the Outcome of a quarantine; 0 = the code needs no reason."""
    if barred == <int>BARRED_OPEN:
        return load32(&rec.own.trip_reason)
    return load32(&rec.quarantine_reason) if barred == <int>BARRED_QUARANTINED else 0


cdef uint64_t wait_ns(TargetRec* rec, int barred, uint64_t now) noexcept:
    """Return the ns until this target may be usable again; 0 = now, or unknown."""
    cdef uint64_t until = 0
    if barred == <int>BARRED_OPEN or barred == <int>BARRED_TRIAL:
        until = circuit_until_ns(load64(&rec.own.circuit))
    elif barred == <int>BARRED_RATE_LIMITED:
        until = load64(&rec.rate_limited_until_ns)
    elif barred == <int>BARRED_QUARANTINED:
        until = load64(&rec.quarantined_until_ns)
    return until - now if until > now else 0


cdef uint64_t unwanted(Request request):
    """Return the members that the caller excludes: by x-edge-canary it has canaries alone (always), or none (never)."""
    cdef uint64_t canaries = request.route.canaries
    cdef bytes wish = field_value(request.head.fields, b"x-edge-canary")
    if wish == b"never":
        return canaries
    return ~canaries if wish == b"always" else 0


cdef list because(Route route, uint64_t members, str why):
    """Return for the record what excludes these members."""
    cdef list found = []
    cdef int i
    for i in range(route.pool.size):
        if members >> i & 1:
            found.append(f"{route.pool.target_at(i).id}: {why}")
    return found


cdef Selection new_selection(Request request):
    cdef Selection selection = Selection.__new__(Selection)
    selection.request = request
    selection.route = request.route
    selection.unable = request.route.unfit[request.operation] | request.closed
    selection.again = -1
    if request.route.canaries:
        selection.unable |= unwanted(request)
    selection.needs = needed_of(request.route.mixed, request.needs)
    if request.identity.hops is not None and request.route.regions:
        selection.exclude_visited_regions()
    if request.route.affinity and request.is_model():
        selection.affinity = new_affinity(<ModelRequest>request, event_time_ns())
    return selection


@cython.freelist(64)
cdef class Selection:
    def __repr__(self):
        return f"<Selection {self.route.name} tried={self.tried:b}>"

    cdef exclude_visited_regions(self):
        """Exclude the regions that the request has passed; all of them if it passed two, or a client sent the hops."""
        cdef list names = self.request.identity.hops.split(b",")
        cdef int i
        if not self.request.identity.peer or len(names) >= MOST_HOPS:
            self.excluded_targets = self.route.regions
            return
        for i in range(self.route.pool.size):
            if self.route.regions >> i & 1 and self.route.pool.target_at(i).plan.provider.encode() in names:
                self.excluded_targets |= <uint64_t>1 << i

    cdef uint64_t _closed(self, uint64_t tried, uint64_t now) noexcept:
        """Return a bit per member that may not be used: every other region while a target of this region is usable,
        otherwise the excluded regions and those that have just reported that they have nothing for the route."""
        cdef Route route = self.route
        cdef uint64_t unable = self.unable | self.barred
        cdef uint64_t closed = self.excluded_targets | unable
        cdef int i
        if route.regions == 0:
            return unable
        for i in range(route.pool.size):
            if not route.regions >> i & 1:
                if route.pool.barred(i, now, tried | unable, self.request.identity.priority) == 0:
                    return route.regions | unable
            elif route.absent_ns[i] > now:
                closed |= <uint64_t>1 << i
        return closed

    cdef int decline(self, int index, bint too_long) except -1:
        """Windows that are not known may be larger, unless the model is the same."""
        cdef Route route = self.route
        cdef str model = route.pool.target_at(index).plan.model
        cdef bint larger
        cdef int i
        self.declined |= <uint64_t>1 << index
        if not too_long:
            return 0
        for i in range(route.pool.size):
            if route.windows[i] and route.windows[index]:
                larger = route.windows[i] > route.windows[index]
            else:
                larger = not route.regions >> i & 1 and route.pool.target_at(i).plan.model != model
            if not larger:
                self.declined |= <uint64_t>1 << i

    cdef int choose(self, uint64_t now, uint64_t running, bint again, Choice* choice) except -1:
        """Choose the best target that was not tried; with ``again`` also a tried one, but never a ``running`` one."""
        self._draw(now, self.tried | running | self.declined, choice)
        if choice.index < 0 and again and self.tried and not self.request.searching:
            # every usable target was tried once: allow the same one again
            self._draw(now, running | self.declined, choice)

    cdef int draw(self, uint64_t now, uint64_t running, bint again, bint queued, Choice* choice):
        choice.index = -1
        choice.full = choice.admit = choice.generation = 0
        if self.route.wait_ns and not self.tried and not queued and self._rests(now):
            return Event.TARGETS_REST
        self.choose(now, running, again, choice)
        if choice.full and not queued and (choice.index >= 0 or not again or not self.is_refused()):
            self.count_passed_over(choice)
        return Event.TARGET_DRAWN if choice.index >= 0 else Event.TARGETS_FULL if choice.full else Event.NO_TARGET

    cdef uint64_t not_beside(self, uint64_t now) except? 0:
        cdef uint64_t due = 0, aside = 0
        self.barred = 0
        if self.needs:
            self._find_barred(now, &due, &aside)
        return self.tried | self.declined | self.route.regions | due | aside | self._closed(self.tried, now)

    cdef int draw_beside(self, uint64_t now, uint64_t gone, Choice* choice) except -1:
        choice.full = choice.admit = choice.generation = 0
        self._draw(now, gone, choice)

    cdef int _draw(self, uint64_t now, uint64_t tried, Choice* choice) except -1:
        """Choose the best target whose credential has allowance left, and reserve the request's estimate there."""
        cdef Target target
        cdef uint64_t wait = 0
        while True:
            if not self._pick(now, tried, choice):
                continue
            if choice.index < 0:
                return 0
            target = self.route.pool.target_at(choice.index)
            if self.request.is_foreign(choice.index) and not self._ready(choice.index):
                self._give_back(now, choice)
                if self.is_mistaken():
                    choice.index = -1
                    return 0
                continue
            if target.allowance is None:
                return 0
            if bounds_take(
                &target.allowance.bounds, now, self.request.prompt_guess + self.request.output_guess, &wait
            ) == 0:
                add64(&target.allowance.bounds.rec.count[<int>A_REQUESTS], 1)
                return 0
            self._give_back(now, choice)
            add64(&target.rec.count[<int>T_EXHAUSTED], 1)
            tried |= (<uint64_t>1) << choice.index

    cdef bint _find_barred(self, uint64_t now, uint64_t* due, uint64_t* aside) except -1:
        """Find the members that do not do now what the request needs, those whose trial of it is due, and those that
        stand aside because they return slowly. False: there is no doubt about any member."""
        cdef TargetPool pool = self.route.pool
        cdef uint64_t needs, bit
        cdef bint trial = False, doubt = False
        cdef double share
        cdef int i
        cdef int capability
        self.barred = due[0] = aside[0] = 0
        for i in range(pool.size):
            if not load64(&pool.recs[i].doubted) & self.needs:
                continue
            doubt = True
            bit = <uint64_t>1 << i
            needs = needed_of(pool.target_at(i).mixed, self.needs)
            capability = capability_barred(pool.recs[i], needs, now, &trial)
            if capability >= 0:
                self.barred |= bit
                self._note_excluded(
                    i, self.request.runtime.replies.passed_over(<int>BARRED_CAPABILITY, capability)
                )
            elif trial:
                due[0] |= bit
            else:
                share = capability_share(pool.recs[i], &pool.policy, needs, now)
                if share < 1.0 and self.request.runtime.unit_random() >= share:
                    aside[0] |= bit
        return doubt

    cdef int _note_excluded(self, int index, str label) except -1:
        cdef str why
        if len(label) > NOTE_LIMIT:
            label = label[:NOTE_LIMIT] + "…"
        why = f"{self.route.pool.target_at(index).id}: {label}"
        if self.excluded is None:
            self.excluded = []
        if why not in self.excluded:
            self.excluded.append(why)

    cdef int _note_unreadable(self, uint64_t members) except -1:
        cdef int i
        for i in range(self.route.pool.size):
            if members >> i & 1:
                self._note_excluded(i, "the request has what only the client's dialect can say")

    cdef int _missing(self, int index, uint64_t now) noexcept:
        cdef bint trial = False
        return capability_barred(
            self.route.pool.recs[index], needed_of(self.route.pool.target_at(index).mixed, self.needs), now, &trial
        )

    cdef int _pick_from(self, uint64_t now, uint64_t tried, uint64_t closed, Choice* choice) except -1:
        """Choose a member that is not closed, and keep who was full."""
        cdef uint64_t full = choice.full
        cdef int kept = -1
        closed |= self._closed(tried, now)
        if self.request.searching:
            closed |= self._behind(tried | closed, now)
        if self.again >= 0:
            kept = self.again
        elif self.affinity is not None:
            kept = self.affinity.kept
        if self.route.prefer or kept < 0 and self.affinity is not None and self.affinity.blocks is not None:
            self._rank(now)
        self.route.pool.pick(
            now, self.request.runtime.random(), tried, self.request.latency_cell, self.request.identity.priority, choice,
            closed, kept,
        )
        self.again = -1
        choice.full |= full

    cdef bint _any_usable(self, uint64_t now, uint64_t gone) noexcept:
        cdef int i
        gone |= self._closed(gone, now)
        for i in range(self.route.pool.size):
            if self.route.pool.barred(i, now, gone, self.request.identity.priority) == 0:
                return True
        return False

    cdef int _pick_able(self, uint64_t now, uint64_t tried, uint64_t due, uint64_t aside, Choice* choice) except -1:
        """Choose a member where something that the request needs is in doubt."""
        cdef uint64_t barred = self.barred
        if due and not self.tried and self._any_usable(now, tried | ~due):
            self._pick_from(now, tried, ~due, choice)       # a retry does not take the risk of a trial
        elif self._any_usable(now, tried | due | aside):
            self._pick_from(now, tried, due | aside, choice)
        elif aside and self._any_usable(now, tried | due):
            self._pick_from(now, tried, due, choice)
        else:
            self._pick_from(now, tried, 0, choice)
        if choice.index < 0 and barred:     # the trickle, as for circuits of targets
            self.barred = 0
            self._pick_from(now, tried, ~barred, choice)
            self.barred = barred

    cdef bint _pick(self, uint64_t now, uint64_t tried, Choice* choice) except -1:
        cdef uint64_t due = 0, aside = 0
        cdef TargetPool pool = self.route.pool
        cdef Target target
        choice.index = -1
        choice.full = 0
        if self.needs and self._find_barred(now, &due, &aside):
            self._pick_able(now, tried, due, aside, choice)
        else:
            self._pick_from(now, tried, 0, choice)
        choice.claims.needs = choice.claims.trials = 0
        if choice.index < 0 or not self.needs:
            return True
        target = pool.target_at(choice.index)
        if capability_take(
            target.rec, &pool.policy, needed_of(target.mixed, self.needs), now, self.barred >> choice.index & 1,
            &choice.claims
        ):
            return True
        if choice.admit == <int>ADMIT_TRIAL:
            breaker_return(&target.rec.own, now, choice.generation)
        if self.barred >> choice.index & 1:
            choice.index = -1
            return True
        return False        # another process was quicker: the next look finds it barred

    cdef void _give_back(self, uint64_t now, Choice* choice) noexcept:
        """Give the permits of a member back that is not asked after all."""
        cdef TargetRec* rec = self.route.pool.recs[choice.index]
        if choice.admit == <int>ADMIT_TRIAL:
            breaker_return(&rec.own, now, choice.generation)
        capability_return(rec, now, &choice.claims)

    cdef void repeat(self, int index) noexcept:
        self.tried &= ~(<uint64_t>1 << index)
        self.again = index
        self.repeats += 1

    cdef bint _rests(self, uint64_t now) noexcept:
        """Return whether a better tier than the best usable one rests (rate-limited, allowance used up), and comes back
        before the exchange has waited for as long as it may."""
        cdef TargetPool pool = self.route.pool
        cdef int best = INT32_MAX
        cdef uint64_t until
        cdef int i, code
        if not self.patient_ns:
            self.patient_ns = now + self.route.wait_ns
        self.rest_ns = NEVER
        for i in range(pool.size):
            if pool.tiers[i] < best and pool.barred(
                i, now, self.declined | self._closed(0, now), self.request.identity.priority
            ) == 0:
                best = pool.tiers[i]
        for i in range(pool.size):
            if pool.tiers[i] < best and not self.unable >> i & 1:
                code = pool.barred(i, now, 0, self.request.identity.priority)
                until = 0
                if code == <int>BARRED_RATE_LIMITED:
                    until = load64(&pool.recs[i].rate_limited_until_ns)
                elif code == <int>BARRED_EXHAUSTED:
                    until = now + bounds_wait(pool.allowed[i], now)
                if until:
                    self.rest_ns = min(self.rest_ns, until)
        return self.rest_ns < self.patient_ns and self.rest_ns < self.request.deadline_ns

    cdef int remember(self, int index) except -1:
        if self.affinity is not None:
            self.affinity.remember(index, self.tried | self.barred, event_time_ns())
        elif self.route.affinity and self.request.is_model():
            remember_first(<ModelRequest>self.request, index, event_time_ns())

    cdef int learn(self, int index, bytes data) except -1:
        if self.affinity is not None and self.affinity.unnamed and data is not None:
            self.affinity.learn(index, data, monotonic_ns())

    cdef int _rank(self, uint64_t now) except -1:
        """Rank the members for the next pick: by the part of the prompt that they have, else by the route's preference."""
        if self.affinity is not None and self.affinity.rank(now):
            return 0
        if self.route.prefer == <int>PREFER_COST and self.request.is_model():
            rank_by_cost(self.route.pool, self.route.rec, (<ModelRequest>self.request).wildcard, now)
        elif self.route.prefer == <int>PREFER_LATENCY:
            rank_by_latency(self.route.pool, self.request.latency_cell, now)

    cdef uint64_t _behind(self, uint64_t gone, uint64_t now) noexcept:
        """Return a bit per member but the usable one that is the next to be asked for an id; 0 = none is usable."""
        cdef Route route = self.route
        cdef uint64_t rank, best = 0
        cdef int i, first = -1
        for i in range(route.pool.size):
            if gone >> i & 1 or route.pool.barred(i, now, gone, self.request.identity.priority) != 0:
                continue
            rank = rendezvous_rank(self.request.seed, route.places[i])
            if first < 0 or rank > best:
                best = rank
                first = i
        return 0 if first < 0 else ~(<uint64_t>1 << first)

    cdef bint has_unasked(self) noexcept:
        cdef uint64_t asked = self.declined | self.unable | self.route.regions
        cdef int i
        for i in range(self.route.pool.size):
            if not asked >> i & 1:
                return True
        return False

    cdef bint _ready(self, int index):
        """Put the request into the words of a target of another dialect; False: it cannot be asked."""
        cdef Refusal why = self.request.translate_for(index)
        cdef uint64_t foreign = self.route.foreign[self.request.operation]
        if why is None:
            return True
        if why.kind == "bad_message" and self._has_native(foreign):
            # what edge cannot read may still be right for a target that takes it as it came
            why.kind = "cannot_carry"
            self._note_unreadable(foreign & ~self.unable)
            self.unable |= foreign
        elif why.kind == "cannot_carry":
            self._note_excluded(index, why.detail if why.noted is None else why.noted)
        if why.kind == "cannot_carry":
            why.detail = f"{self.route.pool.target_at(index).id}: {why.detail}"
            if self.refused is not None:
                why.detail = f"{self.refused.detail}; {why.detail}"
        self.refused = why
        if not self.is_mistaken():
            self.unable |= <uint64_t>1 << index
        return False

    cdef bint _has_native(self, uint64_t foreign) noexcept:
        """Return whether a member of this node's may be asked without a translation."""
        cdef int i
        for i in range(self.route.pool.size):
            if not (foreign | self.unable | self.route.regions) >> i & 1:
                return True
        return False

    cdef bint is_mistaken(self):
        return self.refused is not None and self.refused.kind != "cannot_carry"

    cdef bint is_refused(self):
        return self.is_mistaken() or self.nobody_can()

    cdef object refusal(self):
        cdef str unfit
        if not self.is_mistaken() and self.route.unfit[self.request.operation]:
            unfit = "; ".join(self.route.unfit_because(self.request.operation))
            if self.refused is None:
                return self.request.runtime.replies.problem("not_offered", unfit)
            self.refused.detail = f"{unfit}; {self.refused.detail}"
        return self.request.runtime.replies.problem(self.refused.kind, self.refused.detail)

    cdef tuple exclusions(self):
        cdef Request request = self.request
        cdef list found = self.route.unfit_because(request.operation)
        cdef uint64_t told = self.route.unfit[request.operation] | request.unmet
        if request.unmet_why is not None:
            found = found + request.unmet_why
        if request.closed & ~told:
            found = found + because(self.route, request.closed & ~told, (
                "it is not asked for an id that nobody remembers" if request.searching else
                "another provider is asked for what names no id" if request.sought is None else ISSUED_ELSEWHERE
            ))
        if self.route.canaries:
            told |= request.closed
            found = found + because(self.route, unwanted(request) & ~told, "x-edge-canary of the request excludes it")
        return tuple(found if self.excluded is None else found + self.excluded)

    cdef bint nobody_can(self) noexcept:
        cdef int i
        for i in range(self.route.pool.size):
            if not (self.unable | self.route.regions) >> i & 1:
                return False
        return self.unable != 0

    cdef bint another(self, uint64_t now, uint64_t running) noexcept:
        return self._any_usable(now, self.tried | running | self.declined)

    cdef void narrow(self, uint64_t usable) noexcept:
        self.declined |= ~usable | self.tried

    cdef void count_passed_over(self, const Choice* choice) noexcept:
        """Count the targets that would have been preferred but were full."""
        cdef int i
        for i in range(self.route.pool.size):
            if choice.full >> i & 1 and (
                choice.index < 0 or self.route.pool.tiers[i] <= self.route.pool.tiers[choice.index]
            ):
                add64(&self.route.pool.recs[i].count[<int>T_FULL], 1)

    cdef int set_failover_reason(self, int chosen, uint64_t now) except -1:
        """Note why no target of the best tier was chosen."""
        cdef int i
        cdef int code, capability
        for i in range(self.route.pool.size):
            if self.route.pool.tiers[i] < self.route.pool.tiers[chosen]:
                code = self.route.pool.barred(i, now, 0, self.request.identity.priority)
                capability = self._missing(i, now) if code == 0 and self.needs else -1
                if capability >= 0:
                    code = <int>BARRED_CAPABILITY
                elif code == 0:
                    code = self.route.pool.aside(i, now)
                if code == 0 and self.affinity is not None and self.affinity.kept == chosen:
                    code = ASIDE_KEPT
                label = self.request.runtime.replies.passed_over(code, capability)
                self.failover_reason = f"{self.route.pool.target_at(i).id}: {label}"
                return 0

    cdef object unavailable(self, uint64_t now, list failed_attempts):
        cdef Request request = self.request
        cdef list states = self._target_states(now)
        cdef double wait = self._wait_s(now, states)
        if now >= request.deadline_ns:
            return request.runtime.replies.deadline(self.route.name, failed_attempts, states, wait)
        return request.runtime.replies.unavailable(
            self.route.name, failed_attempts, states, wait, self.route.is_service,
            excluded="; ".join(self.route.unfit_because(request.operation)),
        )

    cdef object overloaded(self, uint64_t now, list failed_attempts):
        return self.request.runtime.replies.overloaded(
            self.route.name, failed_attempts, self._target_states(now), self._retry_after_s()
        )

    cdef list _target_states(self, uint64_t now):
        """Return for every target of the route why it is not usable, and for how long."""
        cdef list states = []
        cdef int i
        cdef int code, capability
        cdef uint64_t until
        cdef Target target
        for i in range(self.route.pool.size):
            if self.unable >> i & 1:
                continue            # this request may not use it, so it is not listed
            target = self.route.pool.target_at(i)
            code = self.route.pool.barred(i, now, 0, self.request.identity.priority)
            until = wait_ns(target.rec, code, now)
            if code == <int>BARRED_EXHAUSTED:
                until = bounds_wait(&target.allowance.bounds, now)
            if code == 0 and self.route.regions >> i & 1:
                if self.excluded_targets >> i & 1:
                    continue        # this request may not use it, so it is not listed
                if self.route.absent_ns[i] > now:
                    code = BARRED_RATE_LIMITED
                    until = self.route.absent_ns[i] - now
                    if not self.route.absent_ns[i] & 1:
                        states.append(TargetState(target.id, code, NOT_ITS_RATE, until / 1e9))
                        continue
            capability = self._missing(i, now) if code == 0 and self.needs else -1
            if capability >= 0:
                until = circuit_until_ns(load64(&target.rec.capability[capability].circuit))
                until = until - now if until > now else 0
                states.append(TargetState(target.id, <int>BARRED_CAPABILITY, capability, until / 1e9))
                continue
            states.append(TargetState(target.id, code, reason_of(target.rec, code), until / 1e9))
        return states

    cdef double _wait_s(self, uint64_t now, list states):
        """Return the seconds until the earliest recovery."""
        cdef uint64_t earliest = self.route.pool.earliest_ns(now)
        if (self.route.regions or self.barred) and earliest <= now:     # one is usable, but not for this request
            return min([state.wait_s for state in states if state.wait_s > 0], default=1.0)
        return 1.0 if earliest <= now or earliest == NEVER else (earliest - now) / 1e9

    cdef int _retry_after_s(self):
        """Estimate when a place is free: mean duration x (queued + 1) / in flight, in whole seconds from 1 to 10."""
        cdef uint64_t done = 0, us = 0, busy = 0, now = monotonic_ns()
        cdef double seconds = 1.0
        cdef bint down = False
        cdef TargetRec* rec
        cdef int i, code
        for i in range(self.route.pool.size):
            rec = self.route.pool.recs[i]
            done += edge_answered(rec)
            us += load64(&rec.total_sum_us)
            busy += inflight_total(rec, self.route.pool.workers)
            code = self.route.pool.barred(i, now, 0, self.request.identity.priority)
            down = down or (not self.route.pool.spilled(i) and code != 0 and code != <int>BARRED_FULL)
        if done and busy:
            seconds = <double>us / 1e6 / <double>done * (self.route.queue.count + 1) / <double>busy
        if self.request.identity.priority == LOW and down:
            seconds = max(seconds, RAMP_STEP_S)
        seconds = min(max(seconds, 1.0), 10.0)
        # up to twice as long, so that clients that are shed together do not come back together
        return min(<int>(seconds * (1.0 + self.request.runtime.unit_random()) + 0.5), 10)
