from native.balance.balancer cimport USABLE
from native.balance.breaker cimport ADMIT_YES
from native.balance.lateness cimport lateness_observe, percentile_ns
from native.io.atomics cimport add64
from native.state.hedge_budget cimport hedge_deposit, hedge_withdraw
from native.state.shared_state cimport (
    R_HEDGES_LOST, R_HEDGES_NO_BUDGET, R_HEDGES_NO_TARGET, R_HEDGES_UNANSWERED, R_HEDGES_WON,
)


cdef uint64_t after_ns(Route route, Attempt attempt) noexcept:
    """Return how long an attempt may show no content before it is hedged; 0 = its target's latency is not known."""
    if route.hedge_percentile:
        return percentile_ns(attempt.target.rec, attempt.facts.latency_cell, route.hedge_percentile)
    return route.hedge_after_ns


cdef int add_attempt(LiveAttempts live, Request request, Attempt attempt, bint beside, uint64_t now_ns) except -1:
    cdef uint64_t after
    live.hedge_ns = 0
    if beside:
        live.hedged = live.first
        live.hedge = attempt
    elif request.route.hedge_share and live.hedge is None and live.first is None:
        after = after_ns(request.route, attempt)
        if after:
            live.hedge_ns = now_ns + after
    live.add(attempt)


cdef uint64_t unfit_beside(Selection selection, int index, uint64_t now_ns) except? 0:
    """Return a bit per member that may not be asked beside ``index``: of another tier, not well, or without room."""
    cdef Route route = selection.route
    cdef int priority = selection.request.identity.priority
    cdef uint64_t unfit = selection.not_beside(now_ns)
    cdef int i, admit = 0
    for i in range(route.pool.size):
        if route.pool.tiers[i] != route.pool.tiers[index] or (
            route.pool.inspect(i, now_ns, 0, priority, &admit) != <int>USABLE or admit != <int>ADMIT_YES
            or route.pool.aside(i, now_ns) != <int>USABLE
        ):
            unfit |= <uint64_t>1 << i
    return unfit


cdef bint draw_hedge(Selection selection, Attempt attempt, uint64_t now_ns, Choice* choice):
    cdef Route route = selection.route
    cdef uint64_t everyone = <uint64_t>-1 >> (64 - route.pool.size)
    cdef uint64_t unfit
    if attempt.facts.content_ns or not selection.request.may_hedge():
        return False            # it answers, and is about to be committed to; or two targets must not be asked
    unfit = unfit_beside(selection, attempt.facts.index, now_ns)
    if unfit & everyone == everyone or route.queue.count:
        add64(&route.rec.count[<int>R_HEDGES_NO_TARGET], 1)
        return False
    if not hedge_withdraw(route.rec):
        add64(&route.rec.count[<int>R_HEDGES_NO_BUDGET], 1)
        return False
    selection.draw_beside(now_ns, unfit, choice)
    if choice.index < 0:        # its credential has no allowance left, or its dialect cannot carry the request
        hedge_deposit(route.rec, 1.0)
        add64(&route.rec.count[<int>R_HEDGES_NO_TARGET], 1)
        return False
    return True


cdef int hedge_again(LiveAttempts live, Selection selection, uint64_t now_ns) except -1:
    cdef uint64_t bit = <uint64_t>1 << live.hedge.facts.index
    hedge_deposit(selection.route.rec, 1.0)
    selection.tried &= ~bit
    live.fresh |= bit
    live.failed.pop()           # it has failed nowhere: the upstream has not begun it
    live.hedge = live.hedged = None
    live.hedge_ns = now_ns


cdef bint outrun_again(Attempt loser) noexcept:
    """Count a loser without content. Return whether it should run on, because so many in a row have lost like this as
    would open the circuit. If each were cancelled, a target that answers nobody would never be found out where the budget
    covers all of its requests; and one that is only slower than usual gets to show how slow."""
    cdef int most = <int>loser.route.pool.policy.consecutive_failures
    loser.target.outrun += 1
    return most > 0 and <int>loser.target.outrun > most


cdef int learn_from(Attempt loser, uint64_t now_ns) except -1:
    """What a target took so far is less than it would have taken. Without this sample its percentile would come from
    quick answers alone, fall, and make edge hedge more and more."""
    cdef uint64_t took = now_ns - loser.facts.asked_ns
    if not loser.facts.asked_ns or took < after_ns(loser.route, loser):
        return 0
    lateness_observe(loser.target.rec, loser.facts.latency_cell, took // 1000)
    loser.target.observe(loser.facts.latency_cell, now_ns, took, False)


cdef int settle_hedge(LiveAttempts live, Selection selection, Attempt winner, uint64_t now_ns) except -1:
    cdef Attempt loser
    live.hedge_ns = 0
    if live.hedge is None or live.hedge_settled:
        return 0
    live.hedge_settled = True
    add64(&selection.route.rec.count[<int>R_HEDGES_WON if winner is live.hedge else <int>R_HEDGES_LOST], 1)
    if live.second is None:
        return 0
    loser = live.second if winner is live.first else live.first
    if loser is live.hedged:
        selection.tried &= ~(<uint64_t>1 << loser.facts.index)      # it is well, and keeps its conversations
        if not loser.facts.content_ns:
            live.runs_on = outrun_again(loser)
            if not live.runs_on:        # else its content will tell
                learn_from(loser, now_ns)


cdef void count_unanswered(LiveAttempts live, Route route) noexcept:
    if live.hedge is not None and not live.hedge_settled:
        live.hedge_settled = True
        add64(&route.rec.count[<int>R_HEDGES_UNANSWERED], 1)
