from cpython.list cimport PyList_GET_SIZE
from libc.string cimport memcmp
from native.balance.balancer cimport BASELINE_TAU_MS, CELL_STREAM, ewma_read, inflight_total, price_at
from native.balance.breaker cimport (
    ADMIT_TRIAL, ADMIT_YES, OPEN, TRIP_LATE, Policy, breaker_report_target, breaker_return, breaker_slow, breaker_trip,
    circuit_state,
)
from native.balance.capability cimport (
    capability_blamed, capability_doubt, capability_failed, capability_open, capability_proven, capability_return,
    capability_worked,
)
from native.balance.capacity cimport capacity_first, capacity_refused
from native.balance.lateness cimport heard, late_after_ns, late_again, lateness_known, lateness_observe
from native.balance.preference cimport PREFER_COST, PREFER_LATENCY, saved_nano, saved_us
from native.codec.field_list cimport FieldView, field_at
from native.codec.numbers cimport parse_length
from native.io.atomics cimport add32, add64, cas64, load64, store32, store64
from native.io.clock cimport was_late_since
from native.state.allowance cimport BOUND_REQUESTS, BOUND_TOKENS, UNBOUND, Grant, bounds_learn, bounds_settle, note_usage
from native.state.hedge_budget cimport hedge_deposit
from native.state.retry_budget cimport budget_deposit
from native.state.shared_state cimport (
    CANCELLED, CLIENT_FAULT, C_AUDIO, DEADLINE, FAIL_FIRST_BYTE, FAIL_FIRST_TOKEN, MISCONFIGURED, OK, RATE_LIMITED,
    REFUSED_CREDENTIAL, R_2XX, R_CACHED_TOKENS, R_FAILOVERS, R_OUTPUT_TOKENS, R_PROMPT_TOKENS, R_REQUESTS,
    R_SAVED_NANO, R_SAVED_US, R_SPILLED, R_STREAMS, T_CACHED_TOKENS, T_PROMPT_TOKENS,
    CircuitRec, RouteRec, TargetRec, UseRec, edge_use_of, hist_bucket,
)

# A deadline of the whole exchange counts against a target without recent latencies only after this time.
cdef uint64_t FAIR_NS = 1_000_000_000
# A half-open trial must not cost its client a whole deadline. It is late after three times the usual latency of the
# target, but not before this time.
cdef uint64_t TRIAL_FLOOR_NS = 2_000_000_000
# How long a target is not used after a 429 without Retry-After.
cdef uint64_t RATE_LIMITED_NS = 2_000_000_000
# An operator has to repair a refused credential or a missing model. Until then the target is tried this often.
cdef uint64_t QUARANTINE_NS = 60_000_000_000
# How long a region that has nothing for a route is not asked for it again: without Retry-After, and at most.
cdef uint64_t ABSENT_NS = 1_000_000_000
cdef uint64_t ABSENT_MAX_NS = 10_000_000_000


cdef uint64_t asked_from(const AttemptFacts* facts) noexcept nogil:
    if facts.asked_ns and (not facts.content_ns or facts.asked_ns < facts.content_ns):
        return facts.asked_ns
    return facts.started_ns


cdef void note_good_answer(Route route, Target target, AttemptFacts* facts, uint64_t now_ns, uint64_t rnd) noexcept:
    if facts.claims.trials:
        capability_proven(target.rec, &route.pool.policy, &facts.claims, now_ns, facts.key, rnd)
    note_answer(route, target, facts, now_ns, rnd)


cdef void note_answer(Route route, Target target, AttemptFacts* facts, uint64_t now_ns, uint64_t rnd) noexcept:
    """Report the success of a trial of the target itself. An answer about the request's own fault is one, too."""
    if facts.admit == <int>ADMIT_TRIAL:
        facts.admit = ADMIT_YES
        breaker_report_target(
            target.rec, &route.pool.policy, now_ns, facts.generation, False, True, facts.key, 0, rnd
        )


cdef void note_first_content(Route route, Target target, AttemptFacts* facts, uint64_t now_ns) noexcept:
    cdef TargetRec* rec = target.rec
    heard(&rec.own)
    target.outrun = 0
    if not target.bounds.learned:
        return
    # The time of a whole answer depends on its length, so it counts only if the target has no latencies of streams.
    # If this process itself was late meanwhile, the time is not the target's.
    capacity_first(
        rec, &target.bounds, now_ns, (facts.content_ns - asked_from(facts)) // 1000,
        (facts.latency_cell == <int>CELL_STREAM or load64(&rec.baseline[<int>CELL_STREAM]) == 0)
        and not was_late_since(asked_from(facts)),
        inflight_total(rec, route.pool.workers),
    )


cdef CircuitRec* blamed(Route route, Target target, AttemptFacts* facts, uint64_t now_ns, uint32_t* generation,
                        bint* trial) noexcept:
    """Return the circuit that slowness counts against: of the target, or of something that the request needs."""
    cdef int capability = -1
    if facts.claims.needs:
        capability = capability_blamed(target.rec, &route.pool.policy, &facts.claims, now_ns)
        capability_doubt(target.rec, &facts.claims, now_ns)
    if capability < 0:
        generation[0] = facts.generation
        trial[0] = facts.admit == <int>ADMIT_TRIAL
        return &target.rec.own
    generation[0] = facts.claims.generations[capability]
    trial[0] = facts.claims.trials >> capability & 1
    return &target.rec.capability[capability]


cdef void note_slow(Route route, Target target, AttemptFacts* facts, uint64_t now_ns, uint64_t rnd) noexcept:
    cdef uint32_t generation = 0
    cdef bint trial = False
    cdef CircuitRec* circuit
    if not facts.slow:
        facts.slow = True
        circuit = blamed(route, target, facts, now_ns, &generation, &trial)
        breaker_slow(circuit, &route.pool.policy, now_ns, generation, trial, rnd)


cdef void note_late(Route route, Target target, AttemptFacts* facts, bint heard, uint64_t now_ns, uint64_t rnd) noexcept:
    cdef const Policy* policy = &route.pool.policy
    cdef uint32_t generation = 0
    cdef bint trial = False
    cdef CircuitRec* circuit
    if facts.late:
        return
    facts.late = True
    if is_trial(facts):
        note_slow(route, target, facts, now_ns, rnd)    # the trial has failed: the circuit opens again
        return
    if not lateness_known(target.rec, facts.latency_cell):
        return
    note_slow(route, target, facts, now_ns, rnd)
    if heard or not policy.consecutive_failures:
        return
    circuit = blamed(route, target, facts, now_ns, &generation, &trial)
    if late_again(circuit) >= <int>policy.consecutive_failures:
        breaker_trip(circuit, policy, now_ns, generation, TRIP_LATE, rnd)


cdef bint is_trial(const AttemptFacts* facts) noexcept nogil:
    return facts.admit == <int>ADMIT_TRIAL or facts.claims.trials != 0


cdef bint circuit_open(Target target, const AttemptFacts* facts) noexcept nogil:
    return circuit_state(load64(&target.rec.own.circuit)) == <int>OPEN or (
        facts.claims.needs != 0 and capability_open(target.rec, facts.claims.needs)
    )


cdef uint64_t trial_bound_ns(Route route, Target target, const AttemptFacts* facts) noexcept:
    cdef uint64_t usual
    if not is_trial(facts) or route.pool.size < 2:
        return 0
    usual = <uint64_t>(3e6 * ewma_read(
        &target.rec.baseline[facts.latency_cell], facts.started_ns, <uint64_t>BASELINE_TAU_MS * 1000000
    ))
    return max(usual, TRIAL_FLOOR_NS)


cdef uint64_t late_bound_ns(Route route, Target target, const AttemptFacts* facts) noexcept:
    cdef uint64_t late = late_after_ns(target.rec, facts.latency_cell)
    cdef uint64_t trial = trial_bound_ns(route, target, facts)
    return min(late, trial) if trial else late


cdef uint64_t slow_after_ns(Route route, Target target, const AttemptFacts* facts) noexcept:
    cdef const Policy* policy = &route.pool.policy
    if policy.slow_adaptive and lateness_known(target.rec, facts.latency_cell):
        if facts.late_after_ns < policy.slow_threshold_ns or policy.slow_threshold_ns == 0:
            return facts.late_after_ns
    return policy.slow_threshold_ns


cdef uint64_t fair_after_ns(Route route, Target target, const AttemptFacts* facts) noexcept:
    """Return how long an attempt must have run before a deadline of the whole exchange counts against its target.

    A caller's own deadline may be far below what the target needs. The route's deadline says what is too long."""
    cdef const Policy* policy = &route.pool.policy
    cdef double usual = ewma_read(
        &target.rec.baseline[facts.latency_cell], facts.started_ns, <uint64_t>BASELINE_TAU_MS * 1000000
    )
    cdef uint64_t limit = <uint64_t>(4e6 * usual) if usual > 0 else FAIR_NS
    if policy.slow_threshold_ns and policy.slow_threshold_ns < limit:
        limit = policy.slow_threshold_ns
    if not facts.caller_bound and route.timeouts.total_ns and route.timeouts.total_ns // 2 < limit:
        limit = route.timeouts.total_ns // 2
    return limit


cdef void settle_success(Route route, Target target, AttemptFacts* facts, uint64_t now_ns, uint64_t rnd) noexcept:
    cdef TargetRec* rec = target.rec
    cdef uint64_t took_ns = facts.content_ns - asked_from(facts)
    cdef uint64_t slow_ns = slow_after_ns(route, target, facts)
    cdef uint64_t us = took_ns // 1000
    target.observe(facts.latency_cell, now_ns, took_ns, False)
    lateness_observe(rec, facts.latency_cell, us)
    add64(&rec.uses[facts.use].first_hist[hist_bucket(us)], 1)
    add64(&rec.first_sum_us, us)
    us = (facts.content_ns - facts.request_started_ns) // 1000
    add64(&route.rec.uses[facts.use].first_hist[hist_bucket(us)], 1)
    add64(&route.rec.first_sum_us, us)
    us = (now_ns - facts.started_ns) // 1000
    add64(&rec.uses[facts.use].total_hist[hist_bucket(us)], 1)
    add64(&rec.total_sum_us, us)
    if route.prefer == <int>PREFER_LATENCY:
        add64(&route.rec.count[<int>R_SAVED_US], <uint64_t>saved_us(
            route.pool, facts.index, facts.latency_cell, took_ns, now_ns
        ))
    if slow_ns and took_ns > slow_ns:
        note_slow(route, target, facts, now_ns, rnd)
    if facts.claims.needs or load64(&rec.doubted):
        capability_worked(rec, &route.pool.policy, &facts.claims, now_ns, facts.key, rnd)
    breaker_report_target(
        rec, &route.pool.policy, now_ns, facts.generation, False, facts.admit == <int>ADMIT_TRIAL, facts.key, 0, rnd
    )


cdef bint settle_failure(Route route, Target target, AttemptFacts* facts, int outcome, bint overloaded, uint64_t now_ns,
                         uint64_t retry_after_ns, uint64_t rnd) noexcept:
    """Record what the target caused, or refused: against the target, or against something that the request needs."""
    cdef TargetRec* rec = target.rec
    cdef const Policy* policy = &route.pool.policy
    cdef bint trial = facts.admit == <int>ADMIT_TRIAL
    cdef bint tripped = False, its = outcome < <int>RATE_LIMITED
    cdef int capability = -1
    if its and facts.claims.needs:
        capability = capability_blamed(rec, policy, &facts.claims, now_ns)
        capability_doubt(rec, &facts.claims, now_ns)
    if capability >= 0:
        tripped = capability_failed(
            rec, capability, policy, &facts.claims, now_ns, False, facts.key, facts.body, retry_after_ns, rnd
        ) > 0
        facts.claims.trials &= ~(<uint64_t>1 << capability)
    if facts.claims.trials:
        capability_return(rec, now_ns, &facts.claims)
    if capability >= 0 and not trial:
        return tripped      # the target is well for others: they are sent there as before
    target.observe(facts.latency_cell, now_ns, now_ns - facts.started_ns, True)
    if target.bounds.learned and (
        outcome == <int>RATE_LIMITED or outcome == <int>FAIL_FIRST_BYTE or outcome == <int>FAIL_FIRST_TOKEN
        or overloaded
    ):
        capacity_refused(rec, &target.bounds, now_ns, inflight_total(rec, route.pool.workers))
    if trial or its:
        # in a trial everything but a good answer is a failure; otherwise only what the target caused
        tripped = breaker_report_target(
            rec, policy, now_ns, facts.generation, True, trial, facts.key, retry_after_ns, rnd
        ) > 0 or tripped
    return tripped


cdef bint settle_health(Route route, Target target, AttemptFacts* facts, int outcome, bint overloaded, uint64_t now_ns,
                        uint64_t retry_after_ns, uint64_t rnd) noexcept:
    cdef TargetRec* rec = target.rec
    cdef bint trial = facts.admit == <int>ADMIT_TRIAL
    cdef bint tripped = False
    cdef uint32_t generation = 0
    cdef CircuitRec* circuit
    facts.ended_ns = now_ns
    add64(&rec.uses[facts.use].count[outcome], 1)
    if outcome == <int>CANCELLED:
        if trial:
            breaker_return(&rec.own, now_ns, facts.generation)
    elif outcome == <int>CLIENT_FAULT:
        if facts.lacking >= 0:
            capability_doubt(rec, &facts.claims, now_ns)
            tripped = capability_failed(
                rec, facts.lacking, &route.pool.policy, &facts.claims, now_ns, True, facts.key, facts.body, 0, rnd
            ) > 0
            facts.claims.trials &= ~(<uint64_t>1 << facts.lacking)
        note_answer(route, target, facts, now_ns, rnd)        # the answer is right: the request was wrong
    elif outcome == <int>OK:
        settle_success(route, target, facts, now_ns, rnd)
    elif outcome == <int>DEADLINE:
        # A caller may be impatient. Its deadline counts against the target only after a fair time.
        if not facts.alive and (facts.content_ns if facts.content_ns else now_ns) - (
            facts.asked_ns if facts.asked_ns else facts.started_ns
        ) > fair_after_ns(route, target, facts):
            target.observe(facts.latency_cell, now_ns, now_ns - facts.started_ns, True)
            note_slow(route, target, facts, now_ns, rnd)
        if trial:
            breaker_return(&rec.own, now_ns, facts.generation)
    else:
        tripped = settle_failure(route, target, facts, outcome, overloaded, now_ns, retry_after_ns, rnd)
        if facts.silent and not facts.head_ns:
            circuit = blamed(route, target, facts, now_ns, &generation, &trial)
            tripped = breaker_trip(circuit, &route.pool.policy, now_ns, generation, TRIP_LATE, rnd) > 0 or tripped
    if facts.claims.trials:
        capability_return(rec, now_ns, &facts.claims)
    return tripped


cdef void set_aside(Route route, Target target, const AttemptFacts* facts, int outcome, bint offered, uint64_t now_ns,
                    uint64_t retry_after_ns, bint rate) noexcept:
    cdef TargetRec* rec = target.rec
    cdef uint64_t until, known
    if outcome == <int>CLIENT_FAULT:
        until = now_ns + min(retry_after_ns if retry_after_ns else ABSENT_NS, ABSENT_MAX_NS)
        route.absent_ns[facts.index] = until & ~<uint64_t>1 | <uint64_t>rate
    elif outcome == <int>RATE_LIMITED:
        until = now_ns + (retry_after_ns if retry_after_ns else RATE_LIMITED_NS)
        while True:     # other processes may write too: the latest time wins
            known = load64(&rec.rate_limited_until_ns)
            if until <= known or cas64(&rec.rate_limited_until_ns, known, until):
                return
    elif outcome == <int>REFUSED_CREDENTIAL or (outcome == <int>MISCONFIGURED and offered):
        store32(&rec.quarantine_reason, outcome)
        store64(&rec.quarantined_until_ns, now_ns + QUARANTINE_NS)


cdef inline bint _ends(const FieldView* field, const char* suffix, Py_ssize_t size) noexcept nogil:
    return field.name_size >= size and memcmp(field.name + field.name_size - size, suffix, size) == 0


cdef bint learn_limits(Target target, list fields, uint64_t now_ns, uint64_t wait_ns):
    cdef const Grant* bounds = &target.allowance.bounds
    cdef FieldView field
    cdef Py_ssize_t place
    cdef int64_t remaining
    cdef int bound
    cdef bint tokens_told = False
    for place in range(PyList_GET_SIZE(fields)):
        if not field_at(fields, place, &field) or field.name_size < 28:
            continue
        bound = UNBOUND
        if memcmp(field.name, b"x-ratelimit-remaining-", 22) == 0:
            # Mistral names the minute that the limit is for; of a month's or a day's, nothing follows for the minute
            if _ends(&field, b"-requests", 9) or _ends(&field, b"-req-minute", 11):
                bound = BOUND_REQUESTS
            elif _ends(&field, b"-tokens", 7) or _ends(&field, b"-tokens-minute", 14):
                bound = BOUND_TOKENS
        elif memcmp(field.name, b"anthropic-ratelimit-", 20) == 0 and _ends(&field, b"-remaining", 10):
            bound = BOUND_REQUESTS if _ends(&field, b"-requests-remaining", 19) else BOUND_TOKENS
        remaining = parse_length(<bytes>(<tuple>fields[place])[1]) if bound else -1
        if remaining < 0:
            continue
        if bounds_learn(bounds, now_ns, bound, remaining, wait_ns if remaining == 0 else 0) and bound == BOUND_TOKENS:
            tokens_told = True
    return tokens_told


cdef Price price_of(ModelRequest request, Target target, bint is_region, bytes answered_by):
    cdef Route route = request.route
    cdef Target other
    cdef Price price, found = None
    cdef int i
    if not is_region:
        return target.price if request.wildcard is None else target.price_of(request.wildcard)
    for i in range(route.pool.size):
        other = route.pool.target_at(i)
        price = other.price_of(request.wildcard)
        if answered_by is not None and other.id.encode() == answered_by:
            return price
        # a target that is not known here: the highest price of the route
        if found is None or price.input + price.output > found.input + found.output:
            found = price
    return found


cdef int dearest(ModelRequest request, uint64_t* usual_nano, uint64_t* worst_nano) except -1:
    cdef Route route = request.route
    cdef Price price
    cdef bint sounds = request.needs >> <int>C_AUDIO & 1
    cdef bint known = request.usual_known
    cdef uint64_t usual = 0, worst = 0
    cdef int i
    for i in range(route.pool.size):
        price = price_at(route.pool, i, request.wildcard)
        worst = max(worst, price.most(request.prompt_guess, request.output_most(price), sounds))
        if known:
            usual = max(usual, price.most(request.prompt_guess, request.output_guess, sounds))
    usual_nano[0] = usual if known else worst       # an assumption is no reason to let many pass
    worst_nano[0] = worst


cdef int count_usage(
    ModelRequest request, int index, Usage* usage, const Used* used, Price price, bint is_region
) except -1:
    cdef Route route = request.route
    cdef Target target = route.pool.target_at(index)
    cdef RouteRec* rec = route.rec
    cdef UseRec* own = &target.rec.uses[edge_use_of(request.needs)]
    cdef UseRec* through = &rec.uses[edge_use_of(request.needs)]
    usage.prompt_tokens = used.prompt
    usage.output_tokens = used.output
    usage.cost_nano = price.cost(used)
    if usage.prompt_tokens:
        add64(&target.rec.count[<int>T_PROMPT_TOKENS], usage.prompt_tokens)
        add64(&rec.count[<int>R_PROMPT_TOKENS], usage.prompt_tokens)
        add64(&own.prompt_tokens, usage.prompt_tokens)
        add64(&through.prompt_tokens, usage.prompt_tokens)
        if 0 < used.cached <= used.prompt:
            add64(&target.rec.count[<int>T_CACHED_TOKENS], <uint64_t>used.cached)
            add64(&rec.count[<int>R_CACHED_TOKENS], <uint64_t>used.cached)
    if usage.output_tokens:
        add64(&rec.count[<int>R_OUTPUT_TOKENS], usage.output_tokens)
        add64(&own.output_tokens, usage.output_tokens)
        add64(&through.output_tokens, usage.output_tokens)
    if usage.cost_nano and not is_region:    # the region that paid counts it
        add64(&own.cost_nano, usage.cost_nano)
        add64(&through.cost_nano, usage.cost_nano)
    if route.prefer == <int>PREFER_COST and not is_region:
        add64(&rec.count[<int>R_SAVED_NANO], <uint64_t>saved_nano(route.pool, index, request.wildcard, used))


cdef void settle_credential(Target target, const Usage* usage, uint64_t guess, bint tokens_told, bint sent,
                            uint64_t now_ns) noexcept:
    cdef uint64_t used = usage.prompt_tokens + usage.output_tokens
    bounds_settle(&target.allowance.bounds, now_ns, used if tokens_told else guess, used, not sent)
    note_usage(target.allowance.bounds.rec, usage.prompt_tokens, usage.output_tokens, usage.cost_nano)


cdef void count_begun(Route route, int worker, bint streams, uint64_t started_ns) noexcept:
    add64(&route.rec.count[<int>R_REQUESTS], 1)
    add32(&route.rec.inflight[worker], 1)
    if streams:
        add64(&route.rec.count[<int>R_STREAMS], 1)
    budget_deposit(route.rec, started_ns, route.budget)
    if route.hedge_share:
        hedge_deposit(route.rec, route.hedge_share)


cdef void count_answered(Route route, int index, bint failover) noexcept:
    add64(&route.rec.answered[index], 1)
    if failover:
        add64(&route.rec.count[<int>R_FAILOVERS], 1)
    if route.pool.spilled(index):
        add64(&route.rec.count[<int>R_SPILLED], 1)


cdef void count_over(Route route, uint64_t needs, int worker, int status, uint64_t took_ns) noexcept:
    cdef uint64_t us = took_ns // 1000
    cdef UseRec* use = &route.rec.uses[edge_use_of(needs)]
    add32(&route.rec.inflight[worker], -1)
    if status >= 200:
        add64(&use.count[<int>R_2XX + status // 100 - 2], 1)
    add64(&use.total_hist[hist_bucket(us)], 1)
    add64(&route.rec.total_sum_us, us)
