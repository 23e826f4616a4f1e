from native.state.allowance cimport bounds_take
from native.proxy.response cimport CAPABILITIES, OUTCOME_NAMES
from native.proxy.attempt cimport Attempt
from native.balance.balancer cimport BARRED_FULL, Choice, Target, inflight_total
from native.io.atomics cimport add32, add64, cas64, load64, store32, store64
from native.state.shared_state cimport (
    A_REQUESTS, CANCELLED, CLIENT_FAULT, DEADLINE, FAIL_CONNECT, FAIL_RESET, FAIL_STATUS, MISCONFIGURED, OK,
    RATE_LIMITED, REFUSED_CREDENTIAL, R_2XX, R_BUDGET, R_CANCELLED, R_REQUESTS, R_RETRIES, R_SHED_HIGH, R_STREAMS,
    T_EXHAUSTED, T_FULL, T_RETRIED, T_SPILLED, W_REQUESTS, RouteRec, TargetRec, hist_bucket,
)
from native.balance.breaker cimport ADMIT_TRIAL, OPEN, breaker_return, circuit_state
from native.state.retry_budget cimport budget_deposit, budget_withdraw
from native.io.clock cimport monotonic_ns
from native.proxy.request cimport LOCAL, MOST_HOPS
from native.balance.queue cimport Queue, Waiter
from native.proxy.router cimport OPERATION_HEALTH, OPERATION_MODELS, OPERATION_SERVICE, Route
from native.proxy.accounting cimport OVER, AttemptCore
from native.codec.head cimport Head
from native.http.stream cimport ClientStream, ServerEvents

cdef uint64_t NEVER = <uint64_t>-1
# A 429 without a hint.
cdef uint64_t REST_NS = 2_000_000_000
# A refused credential or a missing model is a matter for people; it is looked at again this often.
cdef uint64_t OUT_NS = 60_000_000_000
# The same target again, when no other is left: first wait, doubled by each attempt, jittered by a half.
cdef uint64_t BACKOFF_NS = 50_000_000
# For how long a region that has nothing for a route is not asked for it again: what it says, within these.
cdef uint64_t ABSENT_NS = 1_000_000_000
cdef uint64_t ABSENT_MAX_NS = 10_000_000_000

cdef enum:
    LOW = 2                     # the class that does not wait
# When the lowest class is let in more widely (native/balance/capacity): coming back sooner is in vain.
cdef double RAMP_STEP_S = 5.0

cdef frozenset IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"))


cdef class DataPlane(DataPlaneCore):
    """A worker's data path: hand :meth:`protocol` to ``loop.create_server`` and :meth:`start` it."""

    cdef ServerEvents open(self, ServerStream stream, Head head):
        cdef Exchange exchange = Exchange.__new__(Exchange)
        exchange.data_plane = self
        exchange.stream = stream
        exchange.head = head
        exchange.started_ns = monotonic_ns()
        add64(&self.meter.count[<int>W_REQUESTS], 1)
        stream.events = exchange
        exchange.admit()
        return None if exchange.over else exchange

    def cut(self):
        """End what is in flight, as honestly as there is time for: the node does not wait any longer."""
        cdef uint64_t now = monotonic_ns()
        cdef Exchange exchange
        self.cutting = True
        for timer in self.fine.standing():
            exchange = (<Alarm>timer).exchange if isinstance(timer, Alarm) else None
            if exchange is not None:
                exchange.cut_off(now)

    cdef serve(self, uint64_t now_ns):
        """Those who wait, in their order, as far as there are places."""
        cdef Queue queue
        cdef Waiter waiter
        cdef Exchange exchange
        for route in list(self.crowded):
            queue = (<Route>route).queue
            while True:
                waiter = queue.first()
                if waiter is None:
                    break
                exchange = <Exchange>waiter.owner
                exchange.choose()
                if waiter.owner is not None:
                    break       # there is no place for the first, so there is none for those behind
        self.crowded = [route for route in self.crowded if (<Route>route).queue.count]


cdef class Alarm(Timer):
    cdef void fire(self, uint64_t now_ns):
        cdef Exchange exchange = self.exchange      # kept alive: looking may end it
        if exchange is not None:
            exchange.check_deadlines(now_ns)


cdef class Exchange(Answering):
    """A request and its answer, with every attempt in between."""

    cdef exclude_visited_regions(self):
        """Where may this request not go?  Back to where it has been, and nowhere once it has been in two regions."""
        cdef list names = self.hops.split(b",")
        cdef int i
        if not self.peer or len(names) >= MOST_HOPS:
            self.excluded_targets = self.route.regions
            return
        for i in range(self.route.pool.size):
            if self.route.regions >> i & 1 and self.route.pool.target_at(i).plan.provider.encode() in names:
                self.excluded_targets |= <uint64_t>1 << i

    cdef begin(self):
        """The route is known: from here on the exchange counts, and its deadlines run."""
        cdef RouteRec* rec = self.route.rec
        cdef DataPlaneCore data_plane = self.data_plane
        self.identity = data_plane.next_id()
        self.failed_attempts = []
        self.follow()
        if self.caller is not None and not self.enter():
            return
        add64(&rec.count[<int>R_REQUESTS], 1)
        add32(&rec.inflight[data_plane.worker], 1)
        if self.peek.stream == 1 and self.operation != OPERATION_SERVICE:
            add64(&rec.count[<int>R_STREAMS], 1)
        data_plane.active += 1
        data_plane.wake()
        budget_deposit(rec, self.started_ns, self.route.budget)
        if self.route.total_ns and (not self.bounded or self.started_ns + self.route.total_ns < self.total_ns):
            self.total_ns = self.started_ns + self.route.total_ns
        elif not self.bounded:
            self.total_ns = NEVER
        self.last_sent_ns = self.started_ns
        if self.hops is not None and self.route.regions:
            self.exclude_visited_regions()
        self.alarm = Alarm.__new__(Alarm)
        self.alarm.exchange = self
        self.choose()

    cdef choose(self):
        """Take the best target now and make one attempt at it."""
        cdef Choice choice
        cdef uint64_t now = monotonic_ns()
        cdef Attempt attempt
        choice.index = -1
        choice.admit = 0
        choice.generation = 0
        choice.full = 0
        self.backing_off = False
        if now >= self.total_ns:
            self.unavailable()      # nobody waits for an answer any more: nothing is spent on one
            return
        if self.attempts == 0 and self.waiter is None and self.route.queue.ahead(self.priority):
            self.wait(now)      # others came first
            return
        self.draw(now, self.tried, &choice)
        if choice.index < 0 and self.tried:
            # every usable target has been tried once: the same one again, after a moment
            self.draw(now, 0, &choice)
        if choice.full and self.waiter is None:
            self.passed_over(&choice)
        if choice.index < 0:
            if choice.full:
                self.wait(now)
            else:
                self.unavailable()
            return
        if self.waiter is not None:
            self.queued_ns = now - self.waiter.since_ns
            self.route.queue.leave(self.waiter, now)
            self.waiter = None
        if self.attempts == 0:
            self.set_failover_reason(choice.index, now)
        if self.route.pool.spilled(choice.index):
            add64(&self.route.pool.recs[choice.index].count[<int>T_SPILLED], 1)
        self.tried |= (<uint64_t>1) << choice.index
        self.attempts += 1
        if self.latest is not None:
            if self.tries is None:
                self.tries = []
            self.tries.append(self.tell_of(self.latest, self.latest.ended_ns))
        attempt = Attempt.__new__(Attempt)
        attempt.exchange = self
        attempt.index = choice.index
        attempt.admit = choice.admit
        attempt.generation = choice.generation
        attempt.target = self.route.pool.target_at(choice.index)
        attempt.pool = attempt.target.pool
        attempt.charged = attempt.target.allowance is not None
        attempt.started_ns = now
        self.attempt = attempt
        self.latest = attempt
        attempt.begin()
        if not self.over and self.attempt is attempt:
            self.arm_deadline(now)

    cdef uint64_t away(self, uint64_t tried, uint64_t now):
        """A bit per member that may not be used: every other region while a target of our own can answer, else those
        where the request has been and those that have just said that they cannot answer it."""
        cdef Route route = self.route
        cdef uint64_t closed = self.excluded_targets
        cdef int i
        if route.regions == 0:
            return 0
        for i in range(route.pool.size):
            if not route.regions >> i & 1:
                if route.pool.barred(i, now, tried, self.priority) == 0:
                    return route.regions
            elif route.absent_ns[i] > now:
                closed |= <uint64_t>1 << i
        return closed

    cdef passed_over(self, const Choice* choice):
        """Count the targets that would have come first, had they had a place."""
        cdef int i
        for i in range(self.route.pool.size):
            if choice.full >> i & 1 and (
                choice.index < 0 or self.route.pool.tiers[i] <= self.route.pool.tiers[choice.index]
            ):
                add64(&self.route.pool.recs[i].count[<int>T_FULL], 1)

    cdef draw(self, uint64_t now, uint64_t tried, Choice* choice):
        """The best target whose credential has room for this too; what it will use is taken from there."""
        cdef Target target
        cdef uint64_t wait = 0
        while True:
            self.route.pool.pick(
                now, self.data_plane.random(), tried, self.latency_cell, self.priority, choice, self.away(tried, now)
            )
            if choice.index < 0:
                return
            target = self.route.pool.target_at(choice.index)
            if target.allowance is None:
                return
            if bounds_take(&target.allowance.bounds, now, self.prompt_guess + self.output_guess, &wait) == 0:
                add64(&target.allowance.bounds.rec.count[<int>A_REQUESTS], 1)
                return
            if choice.admit == <int>ADMIT_TRIAL:
                breaker_return(target.rec, now, choice.generation)
            add64(&target.rec.count[<int>T_EXHAUSTED], 1)
            tried |= (<uint64_t>1) << choice.index

    cdef wait(self, uint64_t now):
        """There is no place anywhere: the low class is told so at once, the others wait for one. So is another region:
        it has places to ask for elsewhere and a line of its own, and one request must not stand in two."""
        cdef Queue queue = self.route.queue
        cdef Waiter waiter
        self.request_complete_ns = 0       # what edge itself takes is not told of an exchange that waits: most of it would be waiting
        cdef Exchange other
        if self.waiter is not None:
            return
        if self.priority != LOW and not self.peer:
            self.waiter = queue.join(self, self.priority, self.data_plane.worker, now)
            if self.waiter is None:
                waiter = queue.evict(self.priority)
                if waiter is not None:
                    other = <Exchange>waiter.owner
                    other.shed(now)
                    self.waiter = queue.join(self, self.priority, self.data_plane.worker, now)
        if self.waiter is None:
            self.shed(now)
            return
        self.data_plane.crowd(self.route)
        self.arm_deadline(now)

    cdef shed(self, uint64_t now):
        """Say at once that there is no room, and when to come back."""
        cdef list states = self.target_states(now)
        add64(&self.route.rec.count[<int>R_SHED_HIGH + self.priority], 1)
        self.answer_problem(self.data_plane.reply.overloaded(self.route.name, self.failed_attempts, states, self.retry_after_s()))

    cdef int retry_after_s(self):
        """Whole seconds, 1 to 10: until as many have left as stand before this one, by what a request takes here."""
        cdef uint64_t done = 0, us = 0, busy = 0
        cdef double seconds = 1.0
        cdef bint down = False
        cdef TargetRec* rec
        cdef int i, code
        for i in range(self.route.pool.size):
            rec = self.route.pool.recs[i]
            done += load64(&rec.count[<int>OK])
            us += load64(&rec.total_sum_us)
            busy += inflight_total(rec, self.route.pool.workers)
            code = self.route.pool.barred(i, monotonic_ns(), 0, self.priority)
            down = down or (not self.route.pool.spilled(i) and code != 0 and code != <int>BARRED_FULL)
        if done and busy:
            seconds = <double>us / 1e6 / <double>done * (self.route.queue.count + 1) / <double>busy
        if self.priority == LOW and down:
            seconds = max(seconds, RAMP_STEP_S)
        seconds = min(max(seconds, 1.0), 10.0)
        # up to twice as long: those who are sent away together must not come back together
        seconds *= 1.0 + <double>(self.data_plane.random() >> 11) / 9007199254740992.0
        return min(<int>(seconds + 0.5), 10)

    cdef set_failover_reason(self, int chosen, uint64_t now):
        """Why is it not the best tier that answers?  Empty when it is."""
        cdef int i
        cdef int code
        for i in range(self.route.pool.size):
            if self.route.pool.tiers[i] < self.route.pool.tiers[chosen]:
                code = self.route.pool.barred(i, now, 0, self.priority)
                if code == 0:
                    code = self.route.pool.aside(i, now)
                self.reason = f"{self.route.pool.target_at(i).id}: {self.data_plane.reply.passed_over(code)}"
                return

    cdef bint repeatable(self, AttemptCore attempt, int outcome, uint64_t now):
        """Before the commit point, within attempts and time, and only what may be sent twice."""
        if self.committed or self.attempts >= self.route.attempts or now >= self.total_ns or self.data_plane.cutting:
            return False
        if self.operation != OPERATION_SERVICE or not attempt.sent:
            return True
        if not self.replayable:
            return False
        if self.grpc:
            # the transport failed or the server says UNAVAILABLE; and it did not forbid the retry (A6)
            return attempt.pushback != -1 and (
                outcome == <int>FAIL_CONNECT or outcome == <int>FAIL_RESET or outcome == <int>FAIL_STATUS
            )
        return attempt.refused or self.head.method in IDEMPOTENT

    cdef bint may_retry(self, AttemptCore attempt, int outcome, uint64_t now):
        """Repeatable, and within the retry budget."""
        if not self.repeatable(attempt, outcome, now):
            return False
        if attempt.moved:
            return True
        # Leaving a target whose circuit is open moves load, it does not add any; everything else spends the budget.
        if circuit_state(load64(&attempt.target.rec.circuit)) == <int>OPEN and self.route.pool.size > 1:
            return True
        if outcome >= <int>RATE_LIMITED:
            return True
        if budget_withdraw(self.route.rec, now):
            return True
        add64(&self.route.rec.count[<int>R_BUDGET], 1)
        return False

    cdef failed(self, AttemptCore attempt, int outcome, str detail, uint64_t rest_ns):
        """An attempt ended without a good answer: elsewhere, again, or an honest end."""
        cdef uint64_t now = monotonic_ns()
        cdef TargetRec* rec = attempt.target.rec
        cdef uint64_t until
        cdef uint64_t known
        if attempt.phase == OVER or self.over:
            return
        self.request_complete_ns = 0
        if outcome == <int>CLIENT_FAULT:
            # another region has no answer to this: it is left alone for this route, for as long as it says
            self.route.absent_ns[attempt.index] = now + min(rest_ns if rest_ns else ABSENT_NS, ABSENT_MAX_NS)
        self.failed_attempts.append((attempt.target.id, OUTCOME_NAMES[outcome], detail))
        attempt.detail = detail
        if outcome == <int>RATE_LIMITED:
            until = now + (rest_ns if rest_ns else REST_NS)
            while True:     # the later deadline wins, whoever else is writing
                known = load64(&rec.rate_limited_until_ns)
                if until <= known or cas64(&rec.rate_limited_until_ns, known, until):
                    break
        elif outcome == <int>REFUSED_CREDENTIAL or (outcome == <int>MISCONFIGURED and self._offered(attempt)):
            store32(&rec.quarantine_reason, outcome)
            store64(&rec.quarantined_until_ns, now + OUT_NS)
        attempt.settle(CANCELLED if attempt.moved else outcome, now, rest_ns)
        if self.committed:
            self.broken(attempt, outcome, detail)
            return
        attempt.leave()
        self.attempt = None
        if not attempt.retry_granted and not self.may_retry(attempt, outcome, now):
            self.unavailable()
            return
        add64(&self.route.rec.count[<int>R_RETRIES], 1)
        add64(&rec.count[<int>T_RETRIED], 1)
        if attempt.moved:
            self.tried &= ~((<uint64_t>1) << attempt.index)
            self.choose()
            return
        if attempt.pushback > 0:
            self.resume_ns = now + <uint64_t>attempt.pushback * 1_000_000
        elif self.route.pool.size > 1 and self.another(now):
            self.choose()
            return
        else:
            self.resume_ns = now + (BACKOFF_NS << (self.attempts - 1)) * (50 + self.data_plane.random() % 101) // 100
        self.backing_off = True
        self.arm_deadline(now)

    def _offered(self, AttemptCore attempt):
        """Does the target claim to offer this path?  A 404 for what it never offered says nothing about it."""
        offered = attempt.target.plan.capabilities
        return not offered or CAPABILITIES.get(self.operation) in offered

    cdef bint another(self, uint64_t now):
        """Is there a usable target that this exchange has not tried?"""
        cdef uint64_t gone = self.tried | self.away(self.tried, now)
        cdef int i
        for i in range(self.route.pool.size):
            if self.route.pool.barred(i, now, gone, self.priority) == 0:
                return True
        return False

    cdef void on_client_gone(self):
        cdef Attempt attempt = self.attempt
        if self.over:
            return
        if attempt is not None:
            attempt.settle(CANCELLED, monotonic_ns())
            attempt.leave()
            self.attempt = None
        if self.route is not None and self.alarm is not None:
            add64(&self.route.rec.count[<int>R_CANCELLED], 1)
        self.close(-1)

    cdef void on_client_congested(self):
        cdef Attempt attempt = self.attempt
        cdef ClientStream upstream = None if attempt is None else attempt.stream
        if upstream is not None and self.committed:
            attempt.paused = True
            upstream.pause()

    cdef void on_client_drained(self):
        cdef Attempt attempt = self.attempt
        cdef ClientStream upstream = None if attempt is None else attempt.stream
        if upstream is not None and attempt.paused:
            attempt.paused = False
            attempt.last_ns = monotonic_ns()
            if attempt.blocked_ns:
                attempt.blocked_ns = attempt.last_ns    # it could not take more while nobody took its answer
            upstream.resume()
            self.arm_deadline(attempt.last_ns)

    cdef close(self, int status):
        """Exactly once per exchange: counters, and every reference that would make a circle."""
        cdef RouteRec* rec
        cdef uint64_t now
        if self.over:
            return
        self.over = True
        if self.waiter is not None:
            now = monotonic_ns()
            self.queued_ns = now - self.waiter.since_ns
            self.route.queue.leave(self.waiter, now)
            self.waiter = None
        if self.entered:
            self.entered = False
            self.caller.leave(
                self.data_plane.worker, monotonic_ns(), self.prompt_guess + self.output_guess, self.prompt_tokens,
                self.output_tokens, self.cost_nano, self.data_plane.month, not self.reached,
            )
        if self.alarm is not None:
            now = monotonic_ns()
            rec = self.route.rec
            self.data_plane.active -= 1
            add32(&rec.inflight[self.data_plane.worker], -1)
            if status >= 200:
                add64(&rec.count[<int>R_2XX + status // 100 - 2], 1)
            us = (now - self.started_ns) // 1000
            add64(&rec.total_hist[hist_bucket(us)], 1)
            add64(&rec.total_sum_us, us)
            self.data_plane.fine.disarm(self.alarm)
            self.alarm.exchange = None
            self.alarm = None
            self.consider(status, now)
        elif self.response_format != LOCAL and self.operation != OPERATION_HEALTH and self.operation != OPERATION_MODELS:
            # refused before it counted
            if self.identity is None:
                self.follow()
            self.consider(status, monotonic_ns())
        self.latest = None
        self.stream = None
        self.body = None
        self.content = None
        self.hold(0)

    cdef arm_deadline(self, uint64_t now):
        """Set the alarm to the earliest thing that may happen."""
        cdef uint64_t when = self.total_ns
        cdef uint64_t other
        if self.over:
            return
        if self.backing_off and self.resume_ns < when:
            when = self.resume_ns
        if self.waiter is not None and self.waiter.until_ns < when:
            when = self.waiter.until_ns
        if self.attempt is not None:
            other = self.attempt.next_deadline()
            if other < when:
                when = other
        if self.peek.stream == 1 and not self.committed and not self.grpc:
            other = self.last_sent_ns + self.data_plane.comment_ns
            if other < when:
                when = other
        self.data_plane.fine.arm(self.alarm, when)

    cdef cut_off(self, uint64_t now):
        """The node ends before this does: its client is told so, and no target is to blame."""
        if self.over:
            return
        if self.attempt is None:
            self.unavailable()
        else:
            self.failed(self.attempt, CANCELLED, "this edge is stopping", 0)

    cdef check_deadlines(self, uint64_t now):
        cdef Attempt attempt = self.attempt
        if self.over:
            return
        if now >= self.total_ns:
            if attempt is None:
                self.unavailable()
            else:
                self.failed(
                    attempt, DEADLINE if attempt.owes() else CANCELLED, "the total deadline of the exchange", 0
                )
            return
        if self.backing_off and now >= self.resume_ns:
            self.choose()
            return
        if self.waiter is not None and now >= self.waiter.until_ns:
            self.shed(now)
            return
        if attempt is not None and attempt.overdue(now):
            return
        if self.over:
            return
        if self.peek.stream == 1 and not self.committed and not self.grpc and now >= self.last_sent_ns + self.data_plane.comment_ns:
            self.send_keepalive(now)
        self.arm_deadline(now)
