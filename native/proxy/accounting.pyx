from native.state.allowance cimport (
    BOUND_REQUESTS, BOUND_TOKENS, UNBOUND, Grant, bounds_learn, bounds_settle, note_output, note_usage, usual_output,
)
from native.balance.balancer cimport BASELINE_TAU_MS, CELL_STREAM, TargetPool, Target, ewma_read, inflight_total
from native.io.atomics cimport add32, add64, load64
from native.state.shared_state cimport (
    CANCELLED, CLIENT_FAULT, DEADLINE, FAIL_FIRST_BYTE, FAIL_FIRST_TOKEN, FAIL_STATUS, OK, RATE_LIMITED,
    R_COST_NANO, R_OUTPUT_TOKENS, R_PROMPT_TOKENS, T_COST_NANO, T_OUTPUT_TOKENS, T_PROMPT_TOKENS, RouteRec,
    TargetRec, hist_bucket,
)
from native.balance.breaker cimport ADMIT_TRIAL, ADMIT_YES, Policy, breaker_report, breaker_return, breaker_slow
from native.balance.capacity cimport capacity_first, capacity_refused
from native.codec.field_rules cimport field_value
from native.codec.numbers cimport parse_length
from native.proxy.router cimport OPERATION_EMBEDDINGS, OPERATION_SERVICE

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

# The longest wait believed of an answer that asks for one.
cdef uint64_t REST_MAX_NS = 300_000_000_000
# Nothing under this is slow unless the operator says so: prompts differ, and their first tokens with them.
cdef uint64_t SLOW_FLOOR_NS = 2_000_000_000
# What a target may take that has not answered lately, before a caller's own deadline is held against it.
cdef uint64_t FAIR_NS = 1_000_000_000
# More than any answer takes: who reports it has miscounted, and sums of such numbers would overflow.
cdef int64_t MOST_TOKENS = 1_000_000_000


cdef price_elsewhere(ExchangeCore exchange, bytes said, double* input_nano, double* output_nano):
    """What another region's answer costs its caller, whose budget holds wherever it comes from: the price of the target
    that is named there, where we know it, else of the dearest of ours."""
    cdef TargetPool pool = exchange.route.pool
    cdef Target target
    cdef int i
    for i in range(pool.size):
        target = pool.target_at(i)
        if said is not None and target.id.encode() == said:
            input_nano[0] = target.input_nano
            output_nano[0] = target.output_nano
            return
        input_nano[0] = max(input_nano[0], target.input_nano)
        output_nano[0] = max(output_nano[0], target.output_nano)


cdef class ExchangeCore(ServerEvents):
    cdef bint hold(self, Py_ssize_t size) noexcept:
        if size != self.holding:
            if not self.data_plane.hold(size - self.holding):
                return False
            self.holding = size
        return True

    cdef failed(self, AttemptCore attempt, int outcome, str detail, uint64_t rest_ns):
        raise TypeError("ExchangeCore.failed is not implemented")

    cdef bint repeatable(self, AttemptCore attempt, int outcome, uint64_t now):
        raise TypeError("ExchangeCore.repeatable is not implemented")

    cdef bint another(self, uint64_t now):
        raise TypeError("ExchangeCore.another is not implemented")

    cdef bint may_retry(self, AttemptCore attempt, int outcome, uint64_t now):
        raise TypeError("ExchangeCore.may_retry is not implemented")

    cdef commit(self, AttemptCore attempt, int64_t length):
        raise TypeError("ExchangeCore.commit is not implemented")

    cdef bytes tell(self, AttemptCore attempt, bytes content):
        raise TypeError("ExchangeCore.tell is not implemented")

    cdef relay(self, bytes data):
        raise TypeError("ExchangeCore.relay is not implemented")

    cdef finish(self, AttemptCore attempt, list trailers, bytes last):
        raise TypeError("ExchangeCore.finish is not implemented")

    cdef answer_fault(self, AttemptCore attempt, int status, bytes content):
        raise TypeError("ExchangeCore.answer_fault is not implemented")

    cdef arm_deadline(self, uint64_t now):
        raise TypeError("ExchangeCore.arm_deadline is not implemented")


cdef class AttemptCore(ClientEvents):
    """What is known of one try, and how it is settled."""

    cdef proven(self, uint64_t now):
        """A rightful answer has begun: the half-open trial has succeeded, whatever the length of the rest."""
        if self.admit == <int>ADMIT_TRIAL:
            self.admit = ADMIT_YES
            breaker_report(
                self.target.rec, &self.exchange.route.pool.policy, now, self.generation, False, True,
                self.exchange.key, 0, self.exchange.data_plane.random(),
            )

    cdef learn(self, uint64_t now):
        """The first content is here: what it says about how much the target takes."""
        cdef TargetRec* rec = self.target.rec
        cdef uint64_t from_ns
        if self.target.bounds.initial <= 0:
            return
        from_ns = self.asked_ns if self.asked_ns and self.asked_ns < self.content_ns else self.started_ns
        # A whole answer takes as long as it is: it is measured only where there are no streams to measure by.
        capacity_first(
            rec, &self.target.bounds, now, (self.content_ns - from_ns) // 1000,
            self.exchange.latency_cell == <int>CELL_STREAM or load64(&rec.baseline[<int>CELL_STREAM]) == 0,
            inflight_total(rec, self.exchange.route.pool.workers),
        )

    cdef settle(self, int outcome, uint64_t now, uint64_t rest_ns=0):
        """Exactly once per attempt: what the target is to be remembered for."""
        cdef ExchangeCore exchange = self.exchange
        cdef TargetRec* rec = self.target.rec
        cdef const Policy* policy = &exchange.route.pool.policy
        cdef bint trial = self.admit == <int>ADMIT_TRIAL
        cdef uint64_t from_ns
        cdef uint64_t us
        if self.settled:
            return
        self.settled = True
        self.outcome = outcome
        self.ended_ns = now
        add64(&rec.count[outcome], 1)
        if exchange.operation != OPERATION_SERVICE:
            self.account(outcome, now)
        if outcome == <int>CANCELLED:
            if trial:
                breaker_return(rec, now, self.generation)
        elif outcome == <int>CLIENT_FAULT:
            self.proven(now)        # it answered, and rightly
        elif outcome == <int>OK:
            # an answer may begin before an upload is whole: then it is measured from the start
            from_ns = self.asked_ns if self.asked_ns and self.asked_ns < self.content_ns else self.started_ns
            self.target.observe(exchange.latency_cell, now, self.content_ns - from_ns, False)
            us = (self.content_ns - from_ns) // 1000
            add64(&rec.first_hist[hist_bucket(us)], 1)
            add64(&rec.first_sum_us, us)
            us = (self.content_ns - exchange.started_ns) // 1000
            add64(&exchange.route.rec.first_hist[hist_bucket(us)], 1)
            add64(&exchange.route.rec.first_sum_us, us)
            us = (now - self.started_ns) // 1000
            add64(&rec.total_hist[hist_bucket(us)], 1)
            add64(&rec.total_sum_us, us)
            if policy.slow_threshold_ns and self.content_ns - from_ns > self.slow_limit():
                self.note_slow(now)
            breaker_report(
                rec, policy, now, self.generation, False, trial, exchange.key, 0, exchange.data_plane.random()
            )
        elif outcome == <int>DEADLINE:
            # How long a caller waits is no measure of a target: it counts where it would have waited long for this one.
            from_ns = self.asked_ns if self.asked_ns else self.started_ns
            if (self.content_ns if self.content_ns else now) - from_ns > self.fair_limit():
                self.target.observe(exchange.latency_cell, now, now - self.started_ns, True)
                self.note_slow(now)
            if trial:
                breaker_return(rec, now, self.generation)
        else:
            self.target.observe(exchange.latency_cell, now, now - self.started_ns, True)
            if self.target.bounds.initial > 0 and (
                outcome == <int>RATE_LIMITED or outcome == <int>FAIL_FIRST_BYTE or outcome == <int>FAIL_FIRST_TOKEN
                or (outcome == <int>FAIL_STATUS and self.head is not None
                    and (self.head.status == 503 or self.head.status == 529))
            ):
                capacity_refused(rec, &self.target.bounds, now)
            if trial or outcome < <int>RATE_LIMITED:
                # of a trial everything but a good answer is a failure; else only what the target itself did
                self.tripped = breaker_report(
                    rec, policy, now, self.generation, True, trial, exchange.key, rest_ns, exchange.data_plane.random()
                ) > 0

    cdef hear_limits(self, Head head, uint64_t now):
        """What the provider says is left of its bounds: OpenAI's x-ratelimit-*, Anthropic's anthropic-ratelimit-*."""
        cdef const Grant* bounds = &self.target.allowance.bounds
        cdef tuple pair
        cdef bytes name
        cdef const char* p
        cdef Py_ssize_t size
        cdef int64_t remaining
        cdef uint64_t wait_ns
        cdef int bound
        if not bounds.requests.thousandths and not bounds.tokens.thousandths:
            return
        for item in head.fields:
            pair = <tuple>item
            name = <bytes>pair[0]
            size = PyBytes_GET_SIZE(name)
            if size < 28:
                continue
            p = PyBytes_AS_STRING(name)
            bound = UNBOUND
            if p[0] == c"x" and name.startswith(b"x-ratelimit-remaining-"):
                bound = BOUND_REQUESTS if name.endswith(b"-requests") else BOUND_TOKENS if name.endswith(b"-tokens") else UNBOUND
            elif p[0] == c"a" and name.startswith(b"anthropic-ratelimit-") and name.endswith(b"-remaining"):
                bound = BOUND_REQUESTS if name.endswith(b"-requests-remaining") else BOUND_TOKENS
            remaining = parse_length(<bytes>pair[1]) if bound else -1
            if remaining < 0:
                continue
            wait_ns = 0
            if remaining == 0:
                seconds = self.exchange.data_plane.rest(head.fields)
                if seconds is not None:
                    wait_ns = min(<uint64_t>(min(max(seconds, 0.0), 1e6) * 1e9), REST_MAX_NS)
            if bounds_learn(bounds, now, bound, remaining, wait_ns) and bound == BOUND_TOKENS:
                self.told = True

    cdef account(self, int outcome, uint64_t now):
        """What this attempt used: as its target counted, and where it did not, a guess at what it has shown.

        The guess: a token for each event with content, a token for four bytes of a prompt or of a whole answer. What
        was never shown and never counted was not used.
        """
        cdef ExchangeCore exchange = self.exchange
        cdef RouteRec* route = exchange.route.rec
        cdef int64_t prompt = self.prompt_tokens
        cdef int64_t output = self.output_tokens
        cdef double input_nano = self.target.input_nano
        cdef double output_nano = self.target.output_nano
        cdef uint64_t cost
        if self.mode == EVENTS and self.scanner is not None:
            prompt = self.scanner.prompt_tokens
            output = self.scanner.output_tokens
        prompt = prompt if prompt <= MOST_TOKENS else -1
        output = output if output <= MOST_TOKENS else -1
        if outcome == <int>OK or exchange.committed:
            if self.mode == EVENTS and outcome != <int>OK and output < <int64_t>self.scanner.events:
                output = self.scanner.events    # a count that runs along, or begins at 0, says nothing of the end
            if output < 0:
                if self.mode == EVENTS:
                    output = self.scanner.events
                elif exchange.operation == OPERATION_EMBEDDINGS or prompt >= 0:
                    output = 0
                elif self.mode == HOLD:
                    output = self.held_size // 4
                else:       # nobody here could read it
                    output = usual_output(route)
            if prompt < 0:
                prompt = exchange.prompt_guess
        else:
            prompt = prompt if prompt > 0 else 0
            output = output if output > 0 else 0
        if self.pool.is_region and self.head is not None:
            price_elsewhere(exchange, field_value(self.head.fields, b"x-edge-target"), &input_nano, &output_nano)
        cost = <uint64_t>(prompt * input_nano + output * output_nano + 0.5)
        if outcome == <int>OK:
            note_output(route, output)
        if self.charged:
            self.charged = False
            bounds_settle(
                &self.target.allowance.bounds, now,
                prompt + output if self.told else exchange.prompt_guess + exchange.output_guess, prompt + output,
                not self.sent,
            )
            note_usage(self.target.allowance.bounds.rec, prompt, output, cost)
        exchange.prompt_tokens += prompt
        exchange.output_tokens += output
        exchange.cost_nano += cost
        if prompt:
            add64(&self.target.rec.count[<int>T_PROMPT_TOKENS], prompt)
            add64(&route.count[<int>R_PROMPT_TOKENS], prompt)
        if output:
            add64(&self.target.rec.count[<int>T_OUTPUT_TOKENS], output)
            add64(&route.count[<int>R_OUTPUT_TOKENS], output)
        if cost and not self.pool.is_region:    # the region that paid counts it
            add64(&self.target.rec.count[<int>T_COST_NANO], cost)
            add64(&route.count[<int>R_COST_NANO], cost)

    cdef uint64_t usual_limit(self) noexcept:
        """Four times what the target usually takes; 0 = it has not answered lately."""
        cdef double usual = ewma_read(
            &self.target.rec.baseline[self.exchange.latency_cell], self.started_ns, <uint64_t>BASELINE_TAU_MS * 1000000
        )
        return <uint64_t>(4e6 * usual) if usual > 0 else 0

    cdef uint64_t fair_limit(self) noexcept:
        """From when on a deadline of the whole exchange is held against the target: a caller's own may be far below what
        it needs, the route's own says what is too long for the route."""
        cdef const Policy* policy = &self.exchange.route.pool.policy
        cdef uint64_t limit = self.usual_limit()
        if limit == 0:
            limit = FAIR_NS
        if policy.slow_threshold_ns and policy.slow_threshold_ns < limit:
            limit = policy.slow_threshold_ns
        if not self.exchange.bounded and self.exchange.route.total_ns and self.exchange.route.total_ns // 2 < limit:
            limit = self.exchange.route.total_ns // 2
        return limit

    cdef uint64_t slow_limit(self) noexcept:
        """From when on this attempt counts as slow."""
        cdef const Policy* policy = &self.exchange.route.pool.policy
        cdef uint64_t limit
        if not policy.slow_adaptive:
            return policy.slow_threshold_ns
        limit = self.usual_limit()
        if limit == 0:
            return policy.slow_threshold_ns
        if limit < SLOW_FLOOR_NS:
            limit = SLOW_FLOOR_NS
        return limit if limit < policy.slow_threshold_ns else policy.slow_threshold_ns

    cdef note_slow(self, uint64_t now):
        """At most once: it took longer than ``slow_threshold``, whether it has answered by now or not."""
        if not self.slow:
            self.slow = True
            breaker_slow(
                self.target.rec, &self.exchange.route.pool.policy, now, self.generation,
                self.admit == <int>ADMIT_TRIAL, self.exchange.data_plane.random(),
            )

    cdef leave(self):
        """The attempt is over: its place is free, and what still runs upstream is stopped."""
        cdef ClientStream stream = self.stream
        if self.phase == OVER:
            return
        if self.phase == CONNECTING:
            self.pool.forget(self)
        if self.counted:
            self.counted = False
            add32(&self.target.rec.inflight[self.exchange.data_plane.worker], -1)
            add32(&self.target.rec.inflight_class[self.priority][self.exchange.data_plane.worker], -1)
            if self.exchange.data_plane.crowded:
                self.exchange.data_plane.nudge()
        self.stream = None
        self.held = None
        if stream is not None:
            if self.phase == ANSWERING and self.mode == FAULT:
                self.phase = OVER
                stream.discard()
            else:
                self.phase = OVER
                stream.cancel()
        self.phase = OVER
