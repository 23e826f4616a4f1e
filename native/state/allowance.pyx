from libc.stdint cimport int64_t, uint64_t
from native.io.atomics cimport add64, cas64, load64, store64
from native.state.shared_state cimport (
    A_COST_NANO, A_LEARNED, A_OUTPUT_TOKENS, A_PROMPT_TOKENS, A_RESERVED, A_RETURNED, EDGE_HIST_BUCKETS,
    EDGE_MAX_WORKERS, SharedState, edge_ceiling, edge_concurrent, edge_share,
)
from native.state.token_bucket cimport (
    bucket_lower, bucket_remaining, bucket_reset_ns, bucket_settle, bucket_take, bucket_wait, interval_of,
)

# The output tokens that are assumed of an answer until ENOUGH answers have been counted.
cdef uint64_t UNKNOWN_OUTPUT = 512
cdef uint64_t ENOUGH = 20
# While so many usual requests fit into what is left, one that needs more does not matter.
cdef uint64_t MANY = 16
# Retry-After while others hold what is left: when they end is unknown.
cdef uint64_t SOON_NS = 1_000_000_000


cdef Rate rate_of(const Rate* whole, uint64_t share) noexcept nogil:
    cdef Rate rate = whole[0]
    if share and rate.thousandths:
        rate.burst = <uint64_t>(<double>rate.burst * (<double>share / <double>rate.thousandths))
        if rate.burst == 0:
            rate.burst = 1
        rate.thousandths = share
        rate.interval_ns = interval_of(share)
    return rate


cdef Rate requests_now(const Grant* bounds, uint64_t now_ns) noexcept nogil:
    if not bounds.shared:
        return bounds.requests
    return rate_of(
        &bounds.requests, edge_share(bounds.rec, &bounds.rec.requests_share, bounds.requests.thousandths, now_ns)
    )


cdef Rate tokens_now(const Grant* bounds, uint64_t now_ns) noexcept nogil:
    if not bounds.shared:
        return bounds.tokens
    return rate_of(&bounds.tokens, edge_share(bounds.rec, &bounds.rec.tokens_share, bounds.tokens.thousandths, now_ns))


cdef inline const Rate* _requests(const Grant* bounds, uint64_t now_ns, Rate* share) noexcept nogil:
    """Return the current rate, without a copy where it is the Snapshot's; ``share`` is written where it is not."""
    if not bounds.shared:
        return &bounds.requests
    share[0] = requests_now(bounds, now_ns)
    return share


cdef inline const Rate* _tokens(const Grant* bounds, uint64_t now_ns, Rate* share) noexcept nogil:
    if not bounds.shared:
        return &bounds.tokens
    share[0] = tokens_now(bounds, now_ns)
    return share


cdef int bounds_take_tokens(const Grant* bounds, uint64_t now_ns, uint64_t tokens, uint64_t* wait_ns) noexcept nogil:
    cdef Rate share
    cdef const Rate* rate
    wait_ns[0] = 0
    if bounds.tokens.thousandths and tokens:
        rate = _tokens(bounds, now_ns, &share)
        wait_ns[0] = bucket_take(&bounds.rec.tokens_tat, now_ns, tokens, rate.interval_ns, rate.burst)
        if wait_ns[0]:
            return Bound.BOUND_TOKENS
        add64(&bounds.rec.count[<int>A_RESERVED], tokens)
    return Bound.UNBOUND


cdef int bounds_take(const Grant* bounds, uint64_t now_ns, uint64_t tokens, uint64_t* wait_ns) noexcept nogil:
    cdef Rate share
    cdef const Rate* rate = NULL
    cdef int bound
    wait_ns[0] = 0
    if bounds.requests.thousandths:
        rate = _requests(bounds, now_ns, &share)
        wait_ns[0] = bucket_take(&bounds.rec.requests_tat, now_ns, 1, rate.interval_ns, rate.burst)
        if wait_ns[0]:
            return Bound.BOUND_REQUESTS
    if not tokens or not bounds.tokens.thousandths:
        return Bound.UNBOUND
    bound = bounds_take_tokens(bounds, now_ns, tokens, wait_ns)
    if bound and rate != NULL:
        bucket_settle(&bounds.rec.requests_tat, now_ns, -1, rate.interval_ns)
    return bound


cdef uint64_t held_by_all(uint64_t* columns, int workers) noexcept nogil:
    cdef uint64_t total = 0
    cdef int64_t value
    cdef int place
    for place in range(workers):
        value = <int64_t>load64(&columns[place])
        total += <uint64_t>value if value > 0 else 0    # below 0 for a moment when a killed worker was cleared
    return total


cdef int bounds_reserve(const Grant* bounds, int worker, int workers, uint64_t now_ns, Reservation* reservation,
                        bint begun, uint64_t* wait_ns) noexcept nogil:
    cdef AllowanceRec* rec = bounds.rec
    cdef Rate share
    cdef const Rate* each
    cdef uint64_t left
    cdef int bound
    reservation.tokens = reservation.usual
    reservation.held = 0
    wait_ns[0] = 0
    if bounds.tokens.thousandths and reservation.usual:
        each = _tokens(bounds, now_ns, &share)
        left = bucket_remaining(&rec.tokens_tat, now_ns, each.interval_ns, each.burst)
        if reservation.usual > left // MANY:
            reservation.tokens = max(reservation.worst, reservation.usual)
            if reservation.tokens > left:
                if held_by_all(rec.held_tokens, workers) == 0:
                    reservation.tokens = max(reservation.usual, left)
                elif reservation.usual <= left:
                    wait_ns[0] = SOON_NS
                    return Bound.BOUND_TOKENS
                else:
                    reservation.tokens = reservation.usual      # which does not fit, and tells how long to wait
    if begun:
        bound = bounds_take_tokens(bounds, now_ns, reservation.tokens, wait_ns)
    else:
        bound = bounds_take(bounds, now_ns, reservation.tokens, wait_ns)
    if bound == 0 and bounds.tokens.thousandths:
        reservation.held = reservation.tokens
        add64(&rec.held_tokens[worker], reservation.held)
    return bound


cdef void bounds_release(const Grant* bounds, int worker, uint64_t now_ns, Reservation* reservation, uint64_t used,
                         bint untouched) noexcept nogil:
    if untouched or reservation.tokens != used:
        bounds_settle(bounds, now_ns, reservation.tokens, used, untouched)
        reservation.tokens = used
    if reservation.held:
        add64(&bounds.rec.held_tokens[worker], -reservation.held)
        reservation.held = 0


cdef int budget_hold(AllowanceRec* rec, int worker, int workers, uint64_t budget, uint64_t month,
                     Reservation* reservation) noexcept nogil:
    cdef uint64_t gone = spent(rec, month)
    cdef uint64_t left, others, total
    reservation.nano = 0
    if gone >= budget:
        return Bound.BOUND_BUDGET
    left = budget - gone
    others = held_by_all(rec.held_nano, workers)
    reservation.nano = reservation.usual_nano
    if others >= left or reservation.usual_nano > (left - others) // MANY:
        reservation.nano = max(reservation.worst_nano, reservation.usual_nano)
    if reservation.nano == 0:
        return Bound.UNBOUND        # it is free
    # hold first, then compare: two concurrent requests may both be refused, but never both get the last of it
    add64(&rec.held_nano[worker], reservation.nano)
    total = held_by_all(rec.held_nano, workers)
    if total > left and total > reservation.nano:
        budget_release(rec, worker, reservation)
        return Bound.BOUND_BUDGET_HELD
    return Bound.UNBOUND


cdef void budget_release(AllowanceRec* rec, int worker, Reservation* reservation) noexcept nogil:
    if reservation.nano:
        add64(&rec.held_nano[worker], -reservation.nano)
        reservation.nano = 0


cdef uint64_t bounds_wait(const Grant* bounds, uint64_t now_ns) noexcept nogil:
    cdef Rate share
    cdef const Rate* rate
    cdef uint64_t wait = 0
    cdef uint64_t other
    # a bucket that is full holds at least one unit
    if bounds.requests.thousandths and load64(&bounds.rec.requests_tat) > now_ns:
        rate = _requests(bounds, now_ns, &share)
        wait = bucket_wait(&bounds.rec.requests_tat, now_ns, 1, rate.interval_ns, rate.burst)
    if bounds.tokens.thousandths and load64(&bounds.rec.tokens_tat) > now_ns:
        rate = _tokens(bounds, now_ns, &share)
        other = bucket_wait(&bounds.rec.tokens_tat, now_ns, 1, rate.interval_ns, rate.burst)
        wait = other if other > wait else wait
    return wait


cdef void bounds_settle(const Grant* bounds, uint64_t now_ns, uint64_t reserved, uint64_t used, bint untouched) noexcept nogil:
    cdef Rate share
    cdef const Rate* rate
    if untouched and bounds.requests.thousandths:
        rate = _requests(bounds, now_ns, &share)
        bucket_settle(&bounds.rec.requests_tat, now_ns, -1, rate.interval_ns)
    if reserved != used and bounds.tokens.thousandths:
        rate = _tokens(bounds, now_ns, &share)
        bucket_settle(&bounds.rec.tokens_tat, now_ns, <int64_t>(used - reserved), rate.interval_ns)
        if reserved > used:
            add64(&bounds.rec.count[<int>A_RETURNED], reserved - used)


cdef bint bounds_learn(const Grant* bounds, uint64_t now_ns, int bound, uint64_t remaining, uint64_t wait_ns) noexcept nogil:
    cdef Rate rate
    cdef bint news = False
    if bound == Bound.BOUND_REQUESTS and bounds.requests.thousandths:
        rate = requests_now(bounds, now_ns)
        news = bucket_lower(&bounds.rec.requests_tat, now_ns, remaining, wait_ns, rate.interval_ns, rate.burst)
    elif bound == Bound.BOUND_TOKENS and bounds.tokens.thousandths:
        rate = tokens_now(bounds, now_ns)
        news = bucket_lower(&bounds.rec.tokens_tat, now_ns, remaining, wait_ns, rate.interval_ns, rate.burst)
    if news:
        add64(&bounds.rec.count[<int>A_LEARNED], 1)
    return news


cdef void note_usage(AllowanceRec* rec, uint64_t prompt, uint64_t output, uint64_t cost_nano) noexcept nogil:
    if prompt:
        add64(&rec.count[<int>A_PROMPT_TOKENS], prompt)
    if output:
        add64(&rec.count[<int>A_OUTPUT_TOKENS], output)
    if cost_nano:
        add64(&rec.count[<int>A_COST_NANO], cost_nano)


cdef uint64_t spent(AllowanceRec* rec, uint64_t month) noexcept nogil:
    # If the record's month is in the future, the clock was wrong when it was written, or is wrong now. The sum was
    # spent in any case; to ignore it would let a key spend without limit. ``month`` = 0: spending is not counted by
    # month.
    return load64(&rec.spent_nano) if month and load64(&rec.spent_month) >= month else 0


cdef void spend(AllowanceRec* rec, uint64_t month, uint64_t nano) noexcept nogil:
    # The process that advances the month clears the sum. What another process adds at the same instant is lost, at most
    # one exchange per process. The month never goes back here: SharedState.turn_back does that once the clock is
    # trusted.
    cdef uint64_t known = load64(&rec.spent_month)
    if known < month and cas64(&rec.spent_month, known, month):
        store64(&rec.spent_nano, 0)
    add64(&rec.spent_nano, nano)


cdef uint64_t budget_now(const Grant* bounds, uint64_t whole, uint64_t month) noexcept nogil:
    return edge_ceiling(bounds.rec, whole, month) if bounds.shared else whole


cdef uint64_t concurrent_now(const Grant* bounds, uint64_t whole, uint64_t now_ns) noexcept nogil:
    return edge_concurrent(bounds.rec, whole, now_ns) if bounds.shared else whole


cdef void month_at(uint64_t now_s, uint64_t* month, uint64_t* end_s) noexcept nogil:
    # Howard Hinnant's civil_from_days: eras of 400 years, years that begin in March, so that a leap day comes last.
    cdef uint64_t days = now_s // 86400
    cdef uint64_t of_era = (days + 719468) % 146097
    cdef uint64_t year = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    cdef uint64_t began = 365 * year + year // 4 - year // 100
    cdef uint64_t place = (5 * (of_era - began) + 2) // 153         # 0 = March
    cdef uint64_t after = began + (153 * (place + 1) + 2) // 5
    if place == 11:
        after = 365 * (year + 1) + (year + 1) // 4 - (year + 1) // 100 + (year + 1) // 400
    month[0] = 12 * (year + 400 * ((days + 719468) // 146097)) + place + 2
    end_s[0] = (days + after - of_era) * 86400


def month_of(uint64_t now_s):
    """Return (months since year 0, the second of the month's end) of a time in seconds since 1970, in UTC."""
    cdef uint64_t month = 0
    cdef uint64_t end = 0
    month_at(now_s, &month, &end)
    return month, end


cdef void note_output(RouteRec* rec, uint64_t tokens) noexcept nogil:
    cdef int place = 0
    while tokens and place < EDGE_HIST_BUCKETS - 1:
        place += 1
        tokens >>= 1
    add64(&rec.output_hist[place], 1)


cdef uint64_t usual_output(RouteRec* rec, bint* known) noexcept nogil:
    cdef uint64_t total = 0
    cdef uint64_t below, enough
    cdef int place
    for place in range(0, EDGE_HIST_BUCKETS - 3, 4):
        total += load64(&rec.output_hist[place]) + load64(&rec.output_hist[place + 1])
        total += load64(&rec.output_hist[place + 2]) + load64(&rec.output_hist[place + 3])
    for place in range(EDGE_HIST_BUCKETS // 4 * 4, EDGE_HIST_BUCKETS):
        total += load64(&rec.output_hist[place])
    known[0] = total >= ENOUGH
    if not known[0]:
        return UNKNOWN_OUTPUT
    # the highest place below which there is less than 19 of 20 answers; they are mostly short
    below = load64(&rec.output_hist[0])
    enough = total - total // 20
    place = 0
    while below < enough and place < EDGE_HIST_BUCKETS - 1:
        place += 1
        below += load64(&rec.output_hist[place])
    return (<uint64_t>1 << place) - 1


cdef uint64_t longest_output(RouteRec* rec) noexcept nogil:
    cdef int place
    for place in range(EDGE_HIST_BUCKETS - 1, 0, -1):
        if load64(&rec.output_hist[place]):
            return (<uint64_t>1 << place) - 1
    return 0


cdef int fill(Rate* rate, object per_minute, object burst) except -1:
    if per_minute < 0 or burst < 0:
        raise ValueError(f"a rate and its burst are at least 0, not {per_minute} and {burst}")
    rate.thousandths = per_minute * 1000
    rate.interval_ns = interval_of(rate.thousandths) if rate.thousandths else 0
    rate.burst = burst if burst else per_minute
    return 0


cdef class Allowance:
    """One allowance record with its limits; ``plan`` is an ``edge.terms.snapshot.Allowance``.

    A burst of 0 is the amount of a minute. Times are monotonic ns. Raises IndexError for a slot that is not in the shared
    state, ValueError for a negative rate.
    """

    def __init__(self, SharedState shared_state not None, plan not None):
        self.shared_state = shared_state
        self.slot = plan.slot
        self.bounds.rec = shared_state.allowance(plan.slot)
        shared_state.touch(plan.slot)
        self.bounds.shared = plan.shared
        fill(&self.bounds.requests, plan.requests_per_minute, plan.requests_burst)
        fill(&self.bounds.tokens, plan.tokens_per_minute, plan.tokens_burst)

    def take(self, uint64_t now_ns, uint64_t tokens=0):
        """Take one request and some tokens, or nothing; return (Bound or 0, ns until the request is admitted)."""
        cdef uint64_t wait = 0
        cdef int bound = bounds_take(&self.bounds, now_ns, tokens, &wait)
        return bound, wait

    def wait(self, uint64_t now_ns):
        """Return how many ns until one request and one token are available; 0 = now."""
        return bounds_wait(&self.bounds, now_ns)

    def settle(self, uint64_t now_ns, uint64_t reserved, uint64_t used, bint untouched=False):
        """Correct ``reserved`` tokens to the ``used`` ones; ``untouched`` returns the request too."""
        bounds_settle(&self.bounds, now_ns, reserved, used, untouched)

    def reserve(self, uint64_t now_ns, uint64_t usual, uint64_t worst, int worker=0):
        """Take one request and tokens for it; return (Bound or 0, ns until it is admitted, tokens taken)."""
        cdef Reservation reservation
        cdef uint64_t wait = 0
        reservation.usual = usual
        reservation.worst = worst
        cdef int bound = bounds_reserve(&self.bounds, worker, EDGE_MAX_WORKERS, now_ns, &reservation, False, &wait)
        return bound, wait, reservation.held

    def release(self, uint64_t now_ns, uint64_t held, uint64_t used, int worker=0):
        """Settle what :meth:`reserve` took to the ``used`` tokens."""
        cdef Reservation reservation
        reservation.tokens = reservation.held = held
        bounds_release(&self.bounds, worker, now_ns, &reservation, used, False)

    def hold(self, uint64_t budget, uint64_t month, uint64_t usual, uint64_t worst, int worker=0):
        """Hold money of a month's budget; return (Bound or 0, US dollars * 1e9 held)."""
        cdef Reservation reservation
        reservation.usual_nano = usual
        reservation.worst_nano = worst
        cdef int bound = budget_hold(self.bounds.rec, worker, EDGE_MAX_WORKERS, budget, month, &reservation)
        return bound, reservation.nano

    def spend(self, uint64_t month, uint64_t held, uint64_t cost, int worker=0):
        """Spend money, and give back what :meth:`hold` held for it."""
        cdef Reservation reservation
        reservation.nano = held
        spend(self.bounds.rec, month, cost)
        budget_release(self.bounds.rec, worker, &reservation)

    def learn(self, uint64_t now_ns, int bound, uint64_t remaining, uint64_t wait_ns=0):
        """Apply what the provider reports as remaining; return whether that lowered the bucket."""
        return bounds_learn(&self.bounds, now_ns, bound, remaining, wait_ns)

    def left(self, uint64_t now_ns):
        """Return what is left: ((requests, ns until full), (tokens, ns until full)); None = no limit."""
        cdef AllowanceRec* rec = self.bounds.rec
        cdef Rate rate
        requests = tokens = None
        if self.bounds.requests.thousandths:
            rate = requests_now(&self.bounds, now_ns)
            requests = (
                bucket_remaining(&rec.requests_tat, now_ns, rate.interval_ns, rate.burst),
                bucket_reset_ns(&rec.requests_tat, now_ns),
            )
        if self.bounds.tokens.thousandths:
            rate = tokens_now(&self.bounds, now_ns)
            tokens = (
                bucket_remaining(&rec.tokens_tat, now_ns, rate.interval_ns, rate.burst),
                bucket_reset_ns(&rec.tokens_tat, now_ns),
            )
        return requests, tokens

    def bursts(self, uint64_t now_ns):
        """Return what this node may grant at once of a full bucket: (requests, tokens); None = no limit."""
        return (
            requests_now(&self.bounds, now_ns).burst if self.bounds.requests.thousandths else None,
            tokens_now(&self.bounds, now_ns).burst if self.bounds.tokens.thousandths else None,
        )
