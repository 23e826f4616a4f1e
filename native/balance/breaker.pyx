"""Opens and closes a target's circuit: one word of the shared state, moved by compare-and-swap.

    CLOSED --trip--> OPEN --due--> HALF_OPEN --success--> CLOSED
                      ^---------------failure or slow----'

Only a compare-and-swap of ``circuit`` moves the state; the process that succeeds writes the words beside it. Every trip
and every permit starts a new generation, and an outcome counts towards the state only in the generation that admitted
it. So neither an attempt from before a trip nor a trial whose permit expired can open or close the circuit. Other
regions may have set a lower failure threshold in the record (``remote``, see shared_state.h). Sources: linkerd2-proxy
(exact window, one permit, Retry-After as a floor), resilience4j (slow-call ratio).
"""

from libc.stdint cimport uint32_t, uint64_t
from native.io.atomics cimport add32, add64, cas64, load32, load64, or64, store32, store64
from native.state.shared_state cimport (
    circuit_hint, edge_circuit, edge_circuit_generation, edge_circuit_state,
    edge_circuit_until_ms, edge_remote_failure_threshold, EDGE_CIRCUIT_GENERATION_MASK,
)
from native.state.window cimport WindowSum, window_add, window_clear, window_read, window_slow

cdef enum:
    MS = 1_000_000
    S = 1_000_000_000
    # If no other target is left, a circuit that is not closed is tried this often, or more often by its open period.
    TRICKLE_NS = 1_000_000_000

RETRY_AFTER_MAX_NS = 300_000_000_000
cdef double SLOW_START_FLOOR = 0.1      # Envoy's slow start: a recovering host starts at a tenth of its weight


cdef int fill_policy(Policy* policy, object breaker, uint64_t permit_ns, uint64_t retry_after_max_ns) except -1:
    cdef uint64_t window_ns = breaker.window_ns
    if not S <= window_ns <= 10 * <uint64_t>S:
        raise ValueError(f"the breaker's window is 1 to 10 seconds, not {window_ns / S:g}")
    policy.consecutive_failures = breaker.consecutive_failures
    policy.min_requests = breaker.min_requests
    policy.failure_ratio = breaker.failure_ratio
    policy.slow_ratio = breaker.slow_ratio
    policy.slow_threshold_ns = breaker.slow_threshold_ns
    policy.slow_adaptive = breaker.slow_adaptive
    policy.window_s = window_ns // S
    policy.open_duration_ns = breaker.open_duration_ns
    policy.open_duration_max_ns = breaker.open_duration_max_ns
    policy.slow_start_ns = breaker.slow_start_ns
    policy.permit_ns = permit_ns
    policy.retry_after_max_ns = retry_after_max_ns
    return 0


cdef uint64_t ceil_ms(uint64_t ns) noexcept nogil:
    return ns // MS + (ns % MS != 0)


cdef int circuit_state(uint64_t word) noexcept nogil:
    return edge_circuit_state(word)


cdef uint64_t circuit_until_ns(uint64_t word) noexcept nogil:
    return edge_circuit_until_ms(word) * MS


cdef uint32_t circuit_generation(uint64_t word) noexcept nogil:
    return edge_circuit_generation(word)


cdef int breaker_peek(CircuitRec* rec, uint64_t now_ns) noexcept nogil:
    cdef uint64_t word = load64(&rec.circuit)
    if edge_circuit_state(word) == CircuitState.CLOSED:
        return Admit.ADMIT_YES
    return Admit.ADMIT_TRIAL if now_ns // MS >= edge_circuit_until_ms(word) else Admit.ADMIT_NO


cdef int breaker_take(CircuitRec* rec, const Policy* policy, uint64_t now_ns, bint last_resort,
                      uint32_t* generation) noexcept nogil:
    cdef uint64_t word = load64(&rec.circuit)
    cdef uint64_t trial, permit
    cdef uint32_t current
    while True:
        current = edge_circuit_generation(word)
        if edge_circuit_state(word) == CircuitState.CLOSED:
            generation[0] = current
            return Admit.ADMIT_YES
        if now_ns // MS < edge_circuit_until_ms(word):
            if not last_resort:
                return Admit.ADMIT_NO
            # Read after the circuit: if another trial came and went meanwhile, the swap below fails.
            trial = load64(&rec.trial_ns)
            if now_ns < max(load64(&rec.opened_ns), trial) + min(policy.open_duration_ns, <uint64_t>TRICKLE_NS):
                return Admit.ADMIT_NO
            if edge_circuit_state(word) == CircuitState.HALF_OPEN:
                # A trial is already running, and answers may take long. This attempt joins it, and the first outcome
                # decides.
                if not cas64(&rec.trial_ns, trial, now_ns):
                    return Admit.ADMIT_NO
                add64(&rec.trials, 1)
                generation[0] = current
                return Admit.ADMIT_TRIAL
        current = (current + 1) & EDGE_CIRCUIT_GENERATION_MASK
        permit = edge_circuit(CircuitState.HALF_OPEN, current, ceil_ms(now_ns + policy.permit_ns))
        if cas64(&rec.circuit, word, permit):
            store64(&rec.trial_ns, now_ns)
            add64(&rec.trials, 1)
            generation[0] = current
            return Admit.ADMIT_TRIAL
        word = load64(&rec.circuit)


cdef uint64_t open_for(const Policy* policy, uint32_t opens, uint64_t retry_after_ns, uint64_t rnd) noexcept nogil:
    """Return how long the circuit stays open: a doubling wait with a jitter of +/- 25%, and at least Retry-After.

    The wait stops doubling at four fifths of its maximum, so that the maximum does not cut off the jitter. Otherwise
    many edges that wait for the same provider would come back in the same instant.
    """
    cdef uint64_t cap = policy.open_duration_max_ns // 5 * 4
    cdef uint64_t wait = policy.open_duration_ns
    cdef uint64_t floor = min(retry_after_ns, policy.retry_after_max_ns)
    while opens > 0 and wait < cap:
        wait *= 2
        opens -= 1
    wait = <uint64_t>(<double>min(wait, cap) * (0.75 + 0.5 * (<double>(rnd >> 11) / 9007199254740992.0)))
    return max(wait, floor)


cdef int trip(CircuitRec* rec, const Policy* policy, uint64_t word, uint64_t now_ns, int reason,
              uint64_t retry_after_ns, uint64_t rnd) noexcept nogil:
    """Open the circuit from ``word``; returns the reason, or 0 if another process moved the circuit first."""
    cdef uint32_t opens = load32(&rec.opens)
    cdef uint64_t since_ns = circuit_until_ns(word)
    cdef uint64_t wait
    if edge_circuit_state(word) == CircuitState.CLOSED:
        if since_ns == 0 or now_ns > since_ns + max(policy.slow_start_ns, policy.open_duration_max_ns // 2):
            opens = 0       # never opened, or closed for long: start again with the first wait
    wait = open_for(policy, opens, retry_after_ns, rnd)
    if not cas64(&rec.circuit, word,
                 edge_circuit(CircuitState.OPEN, edge_circuit_generation(word) + 1, ceil_ms(now_ns + wait))):
        return 0
    store64(&rec.opened_ns, now_ns)
    store64(&rec.hint_ns, now_ns + wait // 4)
    store32(&rec.opens, opens + 1)
    store32(&rec.trip_reason, reason)
    add64(&rec.trips, 1)
    return reason


cdef int close(CircuitRec* rec, uint64_t word, uint64_t now_ns) noexcept nogil:
    """Close the circuit from ``word``; returns -1, or 0 if the permit had expired and another process took it.

    All records of the outage are cleared first, so that a process that is killed in between leaves no closed circuit
    with a full window.
    """
    window_clear(rec)
    store32(&rec.consecutive, 0)
    if cas64(&rec.circuit, word,
             edge_circuit(CircuitState.CLOSED, edge_circuit_generation(word), max(now_ns // MS, <uint64_t>1))):
        return -1
    return 0


cdef bint keys_agree(CircuitRec* rec, uint64_t now_ns, int key, bint failed) noexcept nogil:
    """Record the outcome for this key; returns False if only one of several active keys has seen failures.

    Without this rule, a caller with a request that makes the provider fail could eject the provider for every caller.
    Two epochs of ten seconds are kept. When an epoch ends, two processes may lose a bit between them; it comes back
    with that key's next report.
    """
    cdef uint64_t epoch = now_ns // 10_000_000_000ULL
    cdef uint64_t seen = load64(&rec.keys_epoch)
    cdef uint64_t bit = <uint64_t>1 << (key & 63)
    cdef uint64_t bits
    if epoch > seen and cas64(&rec.keys_epoch, seen, epoch):
        store64(&rec.keys_active_before, load64(&rec.keys_active) if epoch == seen + 1 else 0)
        store64(&rec.keys_before, load64(&rec.keys_failing) if epoch == seen + 1 else 0)
        store64(&rec.keys_active, 0)
        store64(&rec.keys_failing, 0)
    if not load64(&rec.keys_active) & bit:
        or64(&rec.keys_active, bit)
    if failed and not load64(&rec.keys_failing) & bit:
        or64(&rec.keys_failing, bit)
    bits = load64(&rec.keys_active) | load64(&rec.keys_active_before)
    if bits & (bits - 1) == 0:
        return True
    bits = load64(&rec.keys_failing) | load64(&rec.keys_before)
    return bits & (bits - 1) != 0


cdef bint too_slow(const Policy* policy, WindowSum window, uint32_t remote_threshold) noexcept nogil:
    # An overdue call is counted before it ends, so that a black hole, where no call ends, trips on overdue calls alone.
    # A call that was overdue and then ended is in both counts, so the larger count is the volume. If other regions have
    # reported the target as unhealthy, a volume of the remote threshold is enough.
    cdef uint64_t volume = max(window.total, window.slow)
    cdef uint32_t enough = min(policy.min_requests, remote_threshold) if remote_threshold else policy.min_requests
    return (policy.slow_ratio > 0 and volume > 0 and volume >= enough
            and <double>window.slow >= policy.slow_ratio * <double>volume)


cdef int breaker_report(CircuitRec* rec, const Policy* policy, uint64_t now_ns, uint32_t generation, bint failed,
                        bint trial, int key, uint64_t retry_after_ns, uint64_t rnd) noexcept nogil:
    cdef uint64_t word = load64(&rec.circuit)
    cdef int state = edge_circuit_state(word)
    cdef bint current = edge_circuit_generation(word) == generation
    cdef uint32_t remote_threshold = edge_remote_failure_threshold(load64(&rec.remote), now_ns // MS)
    cdef uint32_t consecutive
    cdef WindowSum window
    if current or state != CircuitState.CLOSED:
        window_add(rec, now_ns, failed)
    if not current:
        return 0
    if state == CircuitState.HALF_OPEN and trial:
        if not failed:
            return close(rec, word, now_ns)
        return trip(rec, policy, word, now_ns, TripReason.TRIP_RETRY_AFTER if retry_after_ns else TripReason.TRIP_TRIAL,
                    retry_after_ns, rnd)
    if state != CircuitState.CLOSED:
        return 0
    if failed:
        consecutive = add32(&rec.consecutive, 1)
    else:
        consecutive = 0
        if load32(&rec.consecutive):
            store32(&rec.consecutive, 0)
    window = window_read(rec, now_ns, policy.window_s)
    if key < 0 or keys_agree(rec, now_ns, key, failed):
        if policy.consecutive_failures and consecutive >= policy.consecutive_failures:
            return trip(rec, policy, word, now_ns, TripReason.TRIP_CONSECUTIVE, retry_after_ns, rnd)
        if policy.consecutive_failures and remote_threshold and consecutive >= remote_threshold:
            return trip(rec, policy, word, now_ns, TripReason.TRIP_REMOTE, retry_after_ns, rnd)
        if (policy.failure_ratio > 0 and window.total > 0 and window.total >= policy.min_requests
                and <double>window.failed >= policy.failure_ratio * <double>window.total):
            return trip(rec, policy, word, now_ns, TripReason.TRIP_RATIO, retry_after_ns, rnd)
    if too_slow(policy, window, remote_threshold):
        return trip(rec, policy, word, now_ns, TripReason.TRIP_SLOW, retry_after_ns, rnd)
    return 0


cdef void breaker_note(CircuitRec* rec, uint64_t now_ns, uint32_t generation, bint failed, int key) noexcept nogil:
    if edge_circuit_generation(load64(&rec.circuit)) != generation:
        return
    window_add(rec, now_ns, failed)
    if failed:
        add32(&rec.consecutive, 1)
    elif load32(&rec.consecutive):
        store32(&rec.consecutive, 0)
    if key >= 0:
        keys_agree(rec, now_ns, key, failed)


cdef int breaker_declined(CircuitRec* rec, const Policy* policy, uint64_t now_ns, uint32_t generation, int key,
                          uint64_t rnd) noexcept nogil:
    cdef uint64_t word = load64(&rec.circuit)
    if edge_circuit_state(word) != CircuitState.CLOSED or edge_circuit_generation(word) != generation:
        return 0
    window_add(rec, now_ns, True)
    add32(&rec.consecutive, 1)
    if key >= 0 and not keys_agree(rec, now_ns, key, True):
        return 0
    return trip(rec, policy, word, now_ns, TripReason.TRIP_DECLINED, 0, rnd)


cdef int breaker_report_target(TargetRec* rec, const Policy* policy, uint64_t now_ns, uint32_t generation, bint failed,
                               bint trial, int key, uint64_t retry_after_ns, uint64_t rnd) noexcept nogil:
    cdef int moved = breaker_report(
        &rec.own, policy, now_ns, generation, failed, trial, key, retry_after_ns, rnd
    )
    cdef int cell
    if moved < 0:
        for cell in range(2):
            store64(&rec.ewma[cell], 0)
            store64(&rec.penalty[cell], 0)
    return moved


cdef int breaker_slow(CircuitRec* rec, const Policy* policy, uint64_t now_ns, uint32_t generation, bint trial,
                      uint64_t rnd) noexcept nogil:
    cdef uint64_t word = load64(&rec.circuit)
    cdef int state = edge_circuit_state(word)
    cdef bint current = edge_circuit_generation(word) == generation
    add64(&rec.slowed, 1)
    if current or state != CircuitState.CLOSED:
        window_slow(rec, now_ns)
    if not current:
        return 0
    if state == CircuitState.HALF_OPEN and trial:
        return trip(rec, policy, word, now_ns, TripReason.TRIP_TRIAL, 0, rnd)
    if state == CircuitState.CLOSED and too_slow(policy, window_read(rec, now_ns, policy.window_s),
                                                 edge_remote_failure_threshold(load64(&rec.remote), now_ns // MS)):
        return trip(rec, policy, word, now_ns, TripReason.TRIP_SLOW, 0, rnd)
    return 0


cdef int breaker_trip(CircuitRec* rec, const Policy* policy, uint64_t now_ns, uint32_t generation, int reason,
                      uint64_t rnd) noexcept nogil:
    cdef uint64_t word = load64(&rec.circuit)
    if edge_circuit_state(word) != CircuitState.CLOSED or edge_circuit_generation(word) != generation:
        return 0
    return trip(rec, policy, word, now_ns, reason, 0, rnd)


cdef void breaker_return(CircuitRec* rec, uint64_t now_ns, uint32_t generation) noexcept nogil:
    cdef uint64_t word = load64(&rec.circuit)
    if edge_circuit_state(word) == CircuitState.HALF_OPEN and edge_circuit_generation(word) == generation:
        # If the swap fails, the permit has just expired and another process has it.
        cas64(&rec.circuit, word, edge_circuit(CircuitState.OPEN, generation, now_ns // MS))


cdef bint breaker_hint(CircuitRec* rec, const Policy* policy, uint64_t now_ns) noexcept nogil:
    return circuit_hint(rec, now_ns)


cdef double breaker_slow_start(CircuitRec* rec, const Policy* policy, uint64_t now_ns) noexcept nogil:
    cdef uint64_t word = load64(&rec.circuit)
    cdef uint64_t since_ns = circuit_until_ns(word)
    if edge_circuit_state(word) != CircuitState.CLOSED:
        return SLOW_START_FLOOR
    if since_ns == 0 or policy.slow_start_ns == 0 or now_ns >= since_ns + policy.slow_start_ns:
        return 1.0
    if now_ns <= since_ns:
        return SLOW_START_FLOOR
    return max(SLOW_START_FLOOR, <double>(now_ns - since_ns) / <double>policy.slow_start_ns)
