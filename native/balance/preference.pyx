"""Ranks the members of a pool by what they cost or by how quick they are, and tells what that saves.

The cost of a member is that of an average token of the prompt: its price for the part of prompts that it has answered
from its cache, the full price for the rest, and its price of output for as many tokens of output as the route's answers
have for each of the prompt. The latency is the higher one of two averages of the first token: the peak-EWMA, which
follows a slow target at once and forgets, and the baseline, which does not. Both are multiplied by the attempts per
success, so that a member that fails is neither cheap nor quick. A member above four fifths of its limit stands behind all
that are below: the rest of its places is for those that have no choice.
"""

from libc.stdint cimport uint32_t
from native.balance.inflight cimport inflight_total
from native.balance.latency cimport BASELINE_TAU_MS, ewma_read
from native.balance.price cimport Price
from native.io.atomics cimport load64
from native.state.shared_state cimport (
    EDGE_EWMA_TAU_NS, EDGE_WINDOW_BUCKETS, R_OUTPUT_TOKENS, R_PROMPT_TOKENS, TargetRec, T_CACHED_TOKENS,
    T_PROMPT_TOKENS, WindowSum, edge_window_sum,
)

cdef enum:
    MS = 1_000_000

cdef double HEADROOM = 0.8
cdef double BEHIND = 1e15           # added to the rank of a member without headroom
cdef double UNKNOWN = 1e12          # the rank of a member without a price: after all that have one
cdef double COST_SLACK = 0.01       # of the lowest cost: prices that differ by less are equal
cdef double LATENCY_SLACK = 0.1     # of the lowest latency: differences below are chance
cdef double LATENCY_SLACK_MS = 2.0
# A route without answers is believed to need one token of output for four of the prompt.
cdef double ASSUMED_PROMPT = 1024.0
cdef double ASSUMED_OUTPUT = 256.0


cdef double tries(TargetPool pool, int index, uint64_t now_ns) noexcept nogil:
    """Return the attempts per success of the last ten seconds."""
    cdef WindowSum window = edge_window_sum(&pool.recs[index].own, now_ns // 1_000_000_000, EDGE_WINDOW_BUCKETS)
    return (<double>window.total + 1.0) / (<double>(window.total - window.failed) + 1.0)


cdef double behind(TargetPool pool, int index, uint64_t now_ns) noexcept nogil:
    cdef uint32_t total = inflight_total(pool.recs[index], pool.workers)
    cdef double limit = pool.limit_of(index, now_ns, total)
    return BEHIND if 0 < limit and total + 1.0 > HEADROOM * limit else 0.0


cdef double cached_share(TargetRec* rec) noexcept nogil:
    return min(
        <double>load64(&rec.count[<int>T_CACHED_TOKENS]) / (<double>load64(&rec.count[<int>T_PROMPT_TOKENS]) + 1.0), 1.0
    )


cdef void set_slack(TargetPool pool, double part, double least) noexcept:
    cdef double lowest = BEHIND
    cdef int index
    for index in range(pool.size):
        lowest = min(lowest, pool.rank[index])
    pool.rank_slack = lowest * part + least


cdef int rank_by_cost(TargetPool pool, RouteRec* rec, bytes model, uint64_t now_ns) except -1:
    cdef double output = (<double>load64(&rec.count[<int>R_OUTPUT_TOKENS]) + ASSUMED_OUTPUT) / (
        <double>load64(&rec.count[<int>R_PROMPT_TOKENS]) + ASSUMED_PROMPT
    )
    cdef Price price
    cdef double share
    cdef int index
    for index in range(pool.size):
        price = pool.target_at(index).price_of(model)
        if price.known:
            share = cached_share(pool.recs[index])
            pool.rank[index] = (
                price.input * (1.0 - share) + price.cached * share + price.output * output
            ) * tries(pool, index, now_ns)
        else:
            pool.rank[index] = UNKNOWN
        pool.rank[index] += behind(pool, index, now_ns)
    set_slack(pool, COST_SLACK, 0.0)


cdef double usual_ms(TargetRec* rec, int latency_cell, uint64_t now_ns) noexcept nogil:
    """Return the first-token latency of a member; 0.0 = no data."""
    cdef int cell = latency_cell & 1
    cdef double ms = max(
        ewma_read(&rec.ewma[cell], now_ns, EDGE_EWMA_TAU_NS),
        ewma_read(&rec.baseline[cell], now_ns, <uint64_t>BASELINE_TAU_MS * MS),
    )
    if ms > 0:
        return ms
    return max(
        ewma_read(&rec.ewma[1 - cell], now_ns, EDGE_EWMA_TAU_NS),
        ewma_read(&rec.baseline[1 - cell], now_ns, <uint64_t>BASELINE_TAU_MS * MS),
    )


cdef void rank_by_latency(TargetPool pool, int latency_cell, uint64_t now_ns) noexcept:
    cdef int index
    for index in range(pool.size):
        # A member without data is asked, unless a request to it is under way: then its answer is awaited.
        pool.rank[index] = usual_ms(pool.recs[index], latency_cell, now_ns) * tries(pool, index, now_ns) or (
            UNKNOWN if inflight_total(pool.recs[index], pool.workers) else 0.0
        )
        pool.rank[index] += behind(pool, index, now_ns)
    set_slack(pool, LATENCY_SLACK, LATENCY_SLACK_MS)


cdef int64_t saved_nano(TargetPool pool, int index, bytes model, const Used* used) except? -1:
    cdef double total = 0.0, weights = 0.0
    cdef Price own = pool.target_at(index).price_of(model)
    cdef Price price
    cdef int other
    for other in range(pool.size):
        price = pool.target_at(other).price_of(model)
        if pool.tiers[other] == pool.tiers[index] and price.known:
            total += <double>price.cost(used) * pool.weights[other]
            weights += pool.weights[other]
    return <int64_t>(total / weights - <double>own.cost(used)) if own.known and weights > 0 else 0


cdef int64_t saved_us(TargetPool pool, int index, int latency_cell, uint64_t took_ns, uint64_t now_ns) noexcept:
    cdef double total = 0.0, weights = 0.0, ms
    cdef int other
    for other in range(pool.size):
        ms = usual_ms(pool.recs[other], latency_cell, now_ns) if other != index else <double>took_ns / MS
        if pool.tiers[other] == pool.tiers[index] and ms > 0:
            total += ms * pool.weights[other]
            weights += pool.weights[other]
    return <int64_t>(1000.0 * total / weights) - <int64_t>(took_ns // 1000) if weights > 0 else 0
