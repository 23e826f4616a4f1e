from native.io.atomics cimport add64
from native.proxy.accounting cimport circuit_open
from native.proxy.ambiguous_turn cimport is_ambiguous, note_ambiguous
from native.proxy.hedge cimport hedge_again
from native.state.retry_budget cimport budget_withdraw
from native.proxy.steps cimport Event, State
from native.state.shared_state cimport CLIENT_FAULT, DEADLINE, OK, FAIL_CONNECT, FAIL_FIRST_BYTE, FAIL_RESET, FAIL_STATUS, RATE_LIMITED, R_BUDGET

# First wait before the same target is asked again. Each attempt doubles it; jitter changes it by up to a half.
cdef uint64_t BACKOFF_NS = 50_000_000
# A failure that took longer than this is none that the same target is asked again for (retry.same_target).
cdef uint64_t FAST_NS = 1_000_000_000


# A request that was not begun moves to another connection this often. Each time the upstream has ended a connection that
# served others before; one that does so without end serves nobody.
cdef int MOST_MOVES = 16


cdef int event_of(LiveAttempts live, Attempt attempt, int outcome, int state) noexcept:
    if outcome == <int>OK:
        return Event.ANSWER_COMPLETE
    if attempt.declined:
        return Event.ATTEMPT_DECLINED
    if outcome == <int>CLIENT_FAULT and not attempt.absent and state != State.RESUMING:
        # What was asked beside another may lack what that one has: its refusal is kept for when the other fails.
        return Event.ATTEMPT_DECLINED if attempt is live.second else Event.ATTEMPT_REFUSED
    return Event.ATTEMPT_FAILED


cdef bint repeatable(Request request, Attempt attempt, int outcome, int begun, uint64_t now) noexcept:
    if now >= request.deadline_ns or request.runtime.cutting:
        return False
    if attempt.moved and request.moves <= MOST_MOVES:
        return request.may_resend(attempt.sent, attempt.refused)    # it has cost no attempt
    if begun >= request.route.attempts + (request.route.pool.size if request.searching else 0):
        return False
    if not request.may_resend(attempt.sent, attempt.refused):
        return False
    if request.grpc and not request.is_model() and attempt.sent:
        # gRPC A6: after a transport failure or UNAVAILABLE, unless the server forbade a retry
        return attempt.reader.pushback != -1 and (
            outcome == <int>FAIL_CONNECT or outcome == <int>FAIL_RESET or outcome == <int>FAIL_STATUS
            or (outcome == <int>FAIL_FIRST_BYTE and request.route.idempotent)
        )
    return True


cdef uint64_t pause_ns(Attempt attempt, int begun, uint64_t chance) noexcept:
    if attempt.reader.pushback > 0:
        return <uint64_t>attempt.reader.pushback * 1_000_000
    return (BACKOFF_NS << (begun - 1)) * (50 + chance % 101) // 100


cdef bint pay_for_retry(Request request, Attempt attempt, int outcome, uint64_t now) noexcept:
    """Leaving a target whose circuit is open only moves load, so it is free. Other retries spend the budget."""
    if attempt.moved or attempt.retry_granted or outcome >= <int>RATE_LIMITED:
        return True
    if circuit_open(attempt.target, &attempt.facts) and request.route.pool.size > 1:
        return True
    if budget_withdraw(request.route.rec, now):
        return True
    add64(&request.route.rec.count[<int>R_BUDGET], 1)
    return False


cdef int facts_of_late(
    Facts* facts, Request request, LiveAttempts live, Selection selection, Attempt attempt, uint64_t now
) except -1:
    facts.may_retry = repeatable(request, attempt, DEADLINE, live.tries(), now) and (
        not is_ambiguous(request, attempt, DEADLINE)
    )
    facts.another = facts.may_retry and selection.another(now, live.running())
    facts.circuit_open = circuit_open(attempt.target, &attempt.facts)


cdef int facts_of_failure(
    Facts* facts, Request request, LiveAttempts live, Selection selection, Attempt attempt, int outcome, uint64_t now
) except -1:
    facts.may_retry = attempt.retry_granted or repeatable(request, attempt, outcome, live.tries(), now)
    if outcome == <int>CLIENT_FAULT and not attempt.declined and facts.others:
        facts.may_retry = False         # a third is not asked for what may be the caller's fault
    facts.another = selection.another(now, live.running())
    if attempt is live.hedge and attempt.moved and live.first is live.hedged and (
        repeatable(request, attempt, outcome, live.tries(), now)
    ):
        hedge_again(live, selection, now)
    if is_ambiguous(request, attempt, outcome):
        note_ambiguous(request)
        facts.may_retry = False
    if request.searching and not facts.another:
        facts.may_retry = attempt.moved and facts.may_retry     # each is asked once
    facts.moved = attempt.moved
    facts.told_to_wait = attempt.reader.pushback > 0
    facts.may_repeat = (
        selection.repeats < request.route.same_target and (
            live.tries() + 1 < request.route.attempts or not facts.another     # one is left for another
        ) and now - attempt.facts.started_ns <= FAST_NS
        and (outcome == <int>FAIL_CONNECT or outcome == <int>FAIL_RESET or outcome == <int>FAIL_STATUS)
        and request.route.pool.barred(attempt.facts.index, now, 0, request.identity.priority) == 0
    )


cdef bint may_ask_another(
    Request request, LiveAttempts live, Selection selection, Attempt attempt, int outcome, uint64_t now
):
    return (
        repeatable(request, attempt, outcome, live.tries(), now)
        and selection.another(now, live.running())
        and pay_for_retry(request, attempt, outcome, now)
    )
