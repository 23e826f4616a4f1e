from libc.string cimport memset
from native.io.atomics cimport load32, load64
from native.state.counters cimport (
    OK, DEADLINE, R_2XX, R_BROKEN, R_COST_NANO, R_WAITING, T_COST_NANO, T_OUTPUT_TOKENS, T_SLOW, T_TRIALS, T_TRIPS,
)

STATE_NAMES = ("closed", "open", "half_open")


cdef tuple copy64(uint64_t* values, int size):
    return tuple([load64(&values[place]) for place in range(size)])


cdef void sum_uses(UseRec* uses, UseRec* whole) noexcept nogil:
    cdef uint64_t* total = <uint64_t*>whole
    cdef uint64_t* part
    cdef int use, place
    memset(whole, 0, sizeof(UseRec))
    for use in range(EDGE_USES):
        part = <uint64_t*>&uses[use]
        for place in range(<int>(sizeof(UseRec) // sizeof(uint64_t))):
            total[place] += load64(&part[place])


cdef dict use_views(UseRec* uses):
    cdef dict views = {}
    cdef UseRec* use
    cdef int place
    for place in range(EDGE_USES):
        use = &uses[place]
        counts = copy64(use.count, EDGE_USE_COUNTERS)
        if not any(counts):
            continue
        views[place] = {
            "counts": counts,
            "first_hist": copy64(use.first_hist, EDGE_HIST_BUCKETS),
            "total_hist": copy64(use.total_hist, EDGE_HIST_BUCKETS),
            "prompt_tokens": load64(&use.prompt_tokens),
            "output_tokens": load64(&use.output_tokens),
            "cost_nano": load64(&use.cost_nano),
        }
    return views


cdef uint64_t sum_workers(uint32_t* columns, int workers) noexcept nogil:
    # If a column is cleared while an attempt runs, it falls below zero when the attempt ends. A negative value counts
    # as 0.
    cdef uint64_t total = 0
    cdef int place
    cdef int value
    for place in range(workers):
        value = <int>load32(&columns[place])
        total += value if value > 0 else 0
    return total


cdef dict capability_views(TargetRec* rec, uint64_t now_ns):
    """Copy the circuits of the capabilities that have been asked lately, have ever failed, or fail elsewhere."""
    cdef dict views = {}
    cdef CircuitRec* part
    cdef WindowSum window
    cdef uint64_t circuit
    cdef int place
    for place in range(EDGE_CAPABILITIES):
        part = &rec.capability[place]
        window = edge_window_sum(part, now_ns // 1_000_000_000, EDGE_WINDOW_BUCKETS)
        circuit = load64(&part.circuit)
        if not (window.total or window.slow or load64(&part.failures) or load64(&part.trips) or load64(&part.remote)):
            continue
        views[place] = {
            "state": STATE_NAMES[edge_circuit_state(circuit)],
            "until_ns": edge_circuit_until_ms(circuit) * 1_000_000,
            "opened_ns": load64(&part.opened_ns),
            "consecutive": load32(&part.consecutive),
            "trip_reason": load32(&part.trip_reason),
            "trips": load64(&part.trips),
            "trials": load64(&part.trials),
            "failures": load64(&part.failures),
            "window": (window.total, window.failed, window.slow),
            "remote": load64(&part.remote),
        }
    return views


cdef dict target_view(TargetRec* rec, int workers, uint64_t now_ns):
    cdef uint64_t circuit = load64(&rec.own.circuit)
    cdef WindowSum window = edge_window_sum(&rec.own, now_ns // 1_000_000_000, EDGE_WINDOW_BUCKETS)
    cdef UseRec whole
    cdef int place
    sum_uses(rec.uses, &whole)
    counts = list(copy64(rec.count, EDGE_TARGET_COUNTERS))
    for place in range(<int>OK, <int>DEADLINE + 1):
        counts[place] = whole.count[place]
    counts[<int>T_OUTPUT_TOKENS] = whole.output_tokens
    counts[<int>T_COST_NANO] = whole.cost_nano
    counts[<int>T_TRIPS] = load64(&rec.own.trips)
    counts[<int>T_TRIALS] = load64(&rec.own.trials)
    counts[<int>T_SLOW] = load64(&rec.own.slowed)
    return {
        "state": STATE_NAMES[edge_circuit_state(circuit)],
        "generation": edge_circuit_generation(circuit),
        "until_ns": edge_circuit_until_ms(circuit) * 1_000_000,
        "opened_ns": load64(&rec.own.opened_ns),
        "trial_ns": load64(&rec.own.trial_ns),
        "consecutive": load32(&rec.own.consecutive),
        "opens": load32(&rec.own.opens),
        "trip_reason": load32(&rec.own.trip_reason),
        "quarantine_reason": load32(&rec.quarantine_reason),
        "quarantined_until_ns": load64(&rec.quarantined_until_ns),
        "rate_limited_until_ns": load64(&rec.rate_limited_until_ns),
        "manual": load64(&rec.manual),
        "inflight": sum_workers(rec.inflight, workers),
        "window": (window.total, window.failed, window.slow),
        "ewma_ms": (edge_cell_ms(load64(&rec.ewma[0])), edge_cell_ms(load64(&rec.ewma[1]))),
        "baseline_ms": (edge_cell_ms(load64(&rec.baseline[0])), edge_cell_ms(load64(&rec.baseline[1]))),
        "measured_ms": (edge_cell_ms(load64(&rec.measured[0])), edge_cell_ms(load64(&rec.measured[1]))),
        "penalty_ms": (
            edge_penalty_in(load64(&rec.ewma[0]), load64(&rec.penalty[0]), now_ns // 1_000_000),
            edge_penalty_in(load64(&rec.ewma[1]), load64(&rec.penalty[1]), now_ns // 1_000_000),
        ),
        "counts": tuple(counts),
        "first_hist": copy64(whole.first_hist, EDGE_HIST_BUCKETS),
        "total_hist": copy64(whole.total_hist, EDGE_HIST_BUCKETS),
        "first_sum_us": load64(&rec.first_sum_us),
        "total_sum_us": load64(&rec.total_sum_us),
        "inflight_by_priority": tuple(
            [sum_workers(rec.inflight_by_priority[place], workers) for place in range(EDGE_PRIORITIES)]
        ),
        "limit": edge_limit(load64(&rec.limit), now_ns // 1_000_000, sum_workers(rec.inflight, workers)),
        "limit_floor_ms": edge_cell_ms(load64(&rec.limit_floor)),
        "limit_seen_ms": edge_cell_ms(load64(&rec.limit_seen)),
        "spill": edge_cell_ms(load64(&rec.spill)),
        "allowance": edge_cell_ms(load64(&rec.allowance)),
        "remote": load64(&rec.own.remote),
        "capabilities": capability_views(rec, now_ns),
        "waiting": edge_load_waiting(load64(&rec.upstream_load), now_ns // 1_000_000),
        "cache_use": edge_load_cache(load64(&rec.upstream_load), now_ns // 1_000_000) / 1000,
    }


cdef dict route_view(RouteRec* rec, int workers):
    cdef UseRec whole
    cdef int place
    sum_uses(rec.uses, &whole)
    counts = list(copy64(rec.count, EDGE_ROUTE_COUNTERS))
    for place in range(<int>R_2XX, <int>R_BROKEN + 1):
        counts[place] = whole.count[place]
    counts[<int>R_COST_NANO] = whole.cost_nano
    counts[<int>R_WAITING] = sum_workers(rec.waiting, workers)
    return {
        "budget": load64(&rec.budget),
        "inflight": sum_workers(rec.inflight, workers),
        "counts": tuple(counts),
        "first_hist": copy64(whole.first_hist, EDGE_HIST_BUCKETS),
        "total_hist": copy64(whole.total_hist, EDGE_HIST_BUCKETS),
        "first_sum_us": load64(&rec.first_sum_us),
        "total_sum_us": load64(&rec.total_sum_us),
        "queue_hist": copy64(rec.queue_hist, EDGE_HIST_BUCKETS),
        "queue_sum_us": load64(&rec.queue_sum_us),
        "overhead_sum_ns": load64(&rec.overhead_sum_ns),
        "overhead_count": load64(&rec.overhead_count),
        "output_hist": copy64(rec.output_hist, EDGE_HIST_BUCKETS),
        "answered": copy64(rec.answered, EDGE_MEMBERS),
    }


cdef dict allowance_view(AllowanceRec* rec, int workers):
    return {
        "requests_tat": load64(&rec.requests_tat),
        "tokens_tat": load64(&rec.tokens_tat),
        "requests_share": load64(&rec.requests_share),
        "tokens_share": load64(&rec.tokens_share),
        "share_until_ns": load64(&rec.share_until_ns),
        "share_nodes": load64(&rec.share_nodes),
        "concurrent_share": load64(&rec.concurrent_share),
        "ceiling_month": load64(&rec.ceiling_month),
        "ceiling_nano": load64(&rec.ceiling_nano),
        "spent_month": load64(&rec.spent_month),
        "spent_nano": load64(&rec.spent_nano),
        "inflight": sum_workers(rec.inflight, workers),
        "held_tokens": sum(copy64(rec.held_tokens, workers)),
        "held_nano": sum(copy64(rec.held_nano, workers)),
        "counts": copy64(rec.count, EDGE_ALLOWANCE_COUNTERS),
    }


cdef dict worker_view(WorkerRec* rec):
    return {
        "pid": load64(&rec.pid),
        "started_ns": load64(&rec.started_ns),
        "heartbeat_ns": load64(&rec.heartbeat_ns),
        "counts": copy64(rec.count, EDGE_WORKER_COUNTERS),
    }
