from libc.stdint cimport int64_t
from native.balance.balancer cimport Choice
from native.io.atomics cimport add64
from native.io.clock cimport event_time_ns, monotonic_ns
from native.proxy.accounting cimport count_answered, count_begun, count_over
from native.proxy.admission cimport admit
from native.proxy.answer_reader cimport ACTION_TOO_LONG
from native.proxy.attempt_kinds cimport new_attempt
from native.proxy.charge cimport new_charge
from native.proxy.exchange_record cimport record
from native.proxy.flight cimport LOOK_AGAIN_NS, new_flight
from native.proxy.hedge cimport add_attempt, count_unanswered, draw_hedge, settle_hedge
from native.proxy.place cimport Place
from native.proxy.local_request cimport LocalCall, LocalQuery
from native.proxy.model_request cimport ModelRequest
from native.proxy.request cimport LIMITED, PLAIN
from native.proxy.service_request cimport ServiceRequest
from native.proxy.rescue cimport count_text, expect, keep_or_release, may_resume, prepare
from native.proxy.response cimport new_response
from native.proxy.runtime cimport NEVER
from native.proxy.retry cimport event_of, facts_of_failure, facts_of_late, may_ask_another, pause_ns, pay_for_retry
from native.proxy.selection cimport new_selection
from native.proxy.steps cimport NO_FACTS, Event, Facts, State, Step, allowed, is_retry, next_step
from native.state.shared_state cimport (
    CANCELLED, DEADLINE, FAIL_FIRST_BYTE, FAIL_INBAND, FAIL_STATUS, R_BROKEN, R_CACHE_MISSES, R_CANCELLED,
    R_LIMITED, R_PEER, R_RETRIES, R_SHED_HIGH, R_UNAVAILABLE, T_RETRIED, W_REQUESTS, edge_use_of,
)


cdef class Alarm(Timer):
    cdef int fire(self, uint64_t now_ns) except -1:
        cdef Exchange exchange = self.exchange      # holds a reference: the deadline may end the exchange
        if exchange is not None:
            exchange.check_deadlines(now_ns)


cdef class Exchange(AttemptEvents):
    """One request, its attempts and its response."""

    def __repr__(self):
        return f"<Exchange {State(self.state).name} {self.request!r}>"

    cdef int _enter(self, int state) except -1:
        if not allowed(self.state, state):
            raise RuntimeError(f"an exchange went from {State(self.state).name} to {State(state).name}")
        self.state = state

    # --- RECEIVING ---------------------------------------------------------------------------------------------------
    cdef receive(self, Runtime runtime, ServerStream stream, Head head):
        """Take a request whose head has been read and whose framing is sound."""
        cdef Request request
        self.runtime = runtime
        self.stream = stream
        self.live = LiveAttempts.__new__(LiveAttempts)
        add64(&runtime.meter.count[<int>W_REQUESTS], 1)
        self.request = request = admit(runtime, stream, head, event_time_ns())
        self.response = new_response(request, stream)
        if request.refused is not None:
            self._refuse(request.refused)
        elif isinstance(request, LocalQuery):
            self._enter(State.LOCAL)
            status, fields, content = (<LocalQuery>request).answer()
            self._reply(status, fields, content)
        elif isinstance(request, LocalCall):
            self._enter(State.LOCAL)
        elif isinstance(request, ServiceRequest) and not request.is_collected():
            self._admitted()

    cdef int on_request_data(self, bytes data) except -1:
        cdef Request request = self.request
        cdef Attempt attempt = self.live.first
        cdef Refusal why
        if self.state == State.CLOSED:
            return 0
        request.body_size += len(data)
        if self.response.tunnel or (attempt is not None and self.response.committed):
            attempt.client_sent(monotonic_ns())     # the answer is not idle while the client still sends
        if self.response.tunnel:
            if attempt.stream is not None:
                attempt.stream.send_data(data)
            return 0
        why = request.take_data(data)
        if why is not None:
            self._refuse(why)
        elif isinstance(request, LocalCall):
            self._answer_call()

    cdef int on_request_end(self, list trailers) except -1:
        cdef Request request = self.request
        cdef Attempt attempt = self.live.first
        cdef Refusal why
        if self.state == State.CLOSED or request.received:
            return 0
        request.received = True
        self.stream.resume()        # edge notices that a client leaves only while it reads from it
        why = request.take_end(trailers)
        if why is not None:
            self._refuse(why)
        elif isinstance(request, LocalCall):
            if not self.runtime.calls.stays(request.head.path):
                self._end_call([(b"grpc-status", b"0")])
        elif request.is_collected():
            self._admitted()
        elif attempt is not None:
            self.live.finish_upload(request)
            self._arm_deadline()

    cdef _refuse(self, Refusal why):
        """Reply with an error of edge's own to a request that edge does not accept."""
        cdef object reply = self.response.refused(why)      # a Reply
        add64(&self.runtime.meter.count[why.counter()], 1)
        if self.response.committed and isinstance(self.request, LocalCall):
            fields = self.runtime.replies.call_fields(reply.status, reply.fields, reply.content)
            self._end_call([pair for pair in fields if pair[0].startswith(b"grpc-")])
            return
        self.live.stop(CANCELLED, self.charge)
        self._reply(reply.status, reply.fields, reply.content)

    # --- LOCAL -------------------------------------------------------------------------------------------------------
    cdef _answer_call(self):
        cdef list answers = []
        cdef list trailers = (<LocalCall>self.request).answer(answers)
        self.response.answer_call(answers)
        if trailers is not None:
            self._end_call(trailers)

    cdef _end_call(self, list trailers):
        self._close(200)
        self.response.end_call(trailers)

    # --- ADMITTED ----------------------------------------------------------------------------------------------------
    cdef _admitted(self):
        """Charge the caller and start the deadlines. From here on the exchange counts as in flight."""
        cdef Request request = self.request
        cdef Runtime runtime = self.runtime
        cdef uint64_t wait = 0
        cdef int bound
        request.identifier = runtime.next_id()
        request.begin_trace()
        self.charge = new_charge(request)
        bound = self.charge.reserve(event_time_ns(), &wait)
        if bound:
            add64(&request.route.rec.count[<int>R_LIMITED], 1)
            self._reply_own(runtime.replies.problem(LIMITED[bound], str((wait + 999_999_999) // 1_000_000_000)))
            return
        self._enter(State.ADMITTED)
        count_begun(request.route, runtime.worker, request.streams(), request.started_ns)
        runtime.exchange_begun()
        request.bind_route()
        self.selection = new_selection(request)
        self.alarm = Alarm.__new__(Alarm)
        self.alarm.exchange = self
        self.flight = self.response.flight = new_flight(request)
        if self.flight is None:
            self.choose()
        else:
            self._ask_cache()

    # --- WAITING -----------------------------------------------------------------------------------------------------
    cdef _ask_cache(self):
        """Answer from the cache, or wait for an exchange that asks the same already, or ask a target."""
        cdef uint64_t now = monotonic_ns()
        cdef int step = next_step(self.state, self.flight.look(now), &NO_FACTS)
        if step == Step.REPLAY:
            self._replay(False)
        elif step == Step.AWAIT:
            self._enter(State.WAITING)
            self.request.request_complete_ns = 0
            self.resume_ns = now + LOOK_AGAIN_NS
            self._arm_deadline()
        else:
            self._enter(State.ADMITTED)
            add64(&self.request.route.rec.count[<int>R_CACHE_MISSES], 1)
            self.choose()

    cdef _replay(self, bint stale):
        """Answer with the entry that the flight has found."""
        entry = self.flight.entry
        add64(&self.request.route.rec.count[self.flight.counter(stale)], 1)
        self._enter(State.COMMITTED)
        self._reply_counted(entry.status, self.response.from_cache(self.flight, stale), entry.content)

    cdef bint _replays_stale(self, uint64_t now):
        """Answer with an older entry, if the cache has one."""
        if self.flight is None or not self.flight.find_stale(now):
            return False
        self._replay(True)
        return True

    # --- QUEUED ------------------------------------------------------------------------------------------------------
    cdef choose(self):
        """Start attempts, in a loop, until one is under way or the exchange is closed: an end only sets ``again``."""
        self.again = True
        if self.choosing:
            return
        self.choosing = True
        while self.again and self.state != State.CLOSED:
            self.again = False
            self._choose_once()
        self.choosing = False
        self._arm_deadline()

    cdef _choose_once(self):
        cdef uint64_t now = event_time_ns()
        cdef Choice choice
        cdef Facts facts
        cdef int event, step
        self.resume_ns = 0
        self._gather(&facts, None)
        if now >= self.request.deadline_ns:
            event = Event.DEADLINE_OVER     # the client has stopped waiting: no attempt is made for it
        elif self.live.begun == 0 and not self._is_queued() and (
            self.request.route.queue.ahead(self.request.identity.priority)
        ):
            event = Event.TARGETS_FULL      # other exchanges wait already, and are served first
        else:
            event = self.selection.draw(now, self.live.running(), not facts.others, self._is_queued(), &choice)
            if event != Event.TARGET_DRAWN and not facts.others and self.state != State.RESUMING and (
                self.selection.is_refused()
            ):
                self._reply_own(self.selection.refusal())
                return
        step = next_step(self.state, event, &facts)
        if step == Step.START_ATTEMPT:
            self._start_attempt(&choice, now)
        elif step == Step.QUEUE:
            self._wait_for_place(now)
        elif step == Step.BACK_OFF:
            self._enter(State.BACKOFF)
            self.resume_ns = self.selection.rest_ns
        elif step == Step.GIVE_UP:
            self._give_up(now)
        elif step == Step.BREAK:
            self._break(<Attempt>self.live.past[-1], self.broken)
        elif step == Step.END_ATTEMPTS:
            self.live.expire(DEADLINE, "the total deadline of the exchange", self.charge)

    cdef _wait_for_place(self, uint64_t now):
        """Every usable target is full: join the route's queue, but not at low priority or for another region."""
        cdef Request request = self.request
        cdef Exchange shed
        request.request_complete_ns = 0     # no overhead is measured: most of it would be time in the queue
        if self.place is None:
            self.place = Place.__new__(Place)
        if self.place.waiter is not None:
            return
        shed = self.place.join(self, request, now)      # a reference: it ends within the call
        if shed is not None:
            shed._shed(now)
            self.place.rejoin(self, request, now)
        if self.place.waiter is None:
            self._shed(now)
            return
        self._enter(State.QUEUED)
        self.runtime.wait_for_place(request.route)

    cdef _shed(self, uint64_t now):
        """Reply that every target is full, with Retry-After, unless an older answer is kept."""
        if self._replays_stale(now):
            return
        add64(&self.request.route.rec.count[<int>R_SHED_HIGH + self.request.identity.priority], 1)
        self._reply_own(self.selection.overloaded(now, self.live.failed or []))

    # --- ATTEMPTING, BACKOFF -----------------------------------------------------------------------------------------
    cdef _start_attempt(self, const Choice* choice, uint64_t now, bint beside=False):
        cdef Request request = self.request
        cdef Attempt attempt
        if self.place is not None:
            self.place.leave(self.request, now)
        self._enter(State.RESUMING if self.state == State.RESUMING else State.ATTEMPTING)
        if self.live.begun == 0:
            self.selection.set_failover_reason(choice.index, now)
        self.selection.tried |= (<uint64_t>1) << choice.index
        attempt = new_attempt(self, request, choice, now)
        attempt.wants_fresh = self.live.fresh >> choice.index & 1
        if self.state == State.RESUMING:
            expect(<ModelRequest>request, self.response, attempt, <Attempt>self.live.past[-1], now)
        add_attempt(self.live, request, attempt, beside, now)
        attempt.begin()

    cdef void _gather(self, Facts* facts, Attempt about) noexcept:
        """Collect the facts of a decision; ``about`` is the attempt that it concerns, or None."""
        self.live.gather(facts, about)
        facts.cutting = self.runtime.cutting
        facts.may_join = self.request.may_join()

    cdef int _start_hedge(self, uint64_t now) except -1:
        """Ask another target of the tier beside an attempt that shows no content for longer than is usual."""
        cdef Choice choice
        cdef Facts facts
        self.live.hedge_ns = 0
        self._gather(&facts, None)
        if next_step(self.state, Event.HEDGE_DUE, &facts) == Step.START_HEDGE and (
            draw_hedge(self.selection, self.live.first, now, &choice)
        ):
            self._start_attempt(&choice, now, True)

    cdef int on_late(self, Attempt attempt, uint64_t now) except -1:
        """An attempt is late: start a second one at another target, if the policy and the budget allow it."""
        cdef Facts facts
        cdef int step
        if self.state != State.ATTEMPTING or self.choosing:
            return 0
        self._gather(&facts, attempt)
        facts_of_late(&facts, self.request, self.live, self.selection, attempt, now)
        step = next_step(self.state, Event.ATTEMPT_LATE, &facts)
        if step == Step.LEAVE_TARGET:
            attempt.end(FAIL_FIRST_BYTE, "late, and its circuit has opened")
        elif step == Step.START_BESIDE:
            self._start_beside(attempt, now)

    cdef int _start_beside(self, Attempt attempt, uint64_t now) except -1:
        """Ask another target while a late attempt goes on."""
        if not pay_for_retry(self.request, attempt, DEADLINE, now):
            return 0
        add64(&self.request.route.rec.count[<int>R_RETRIES], 1)
        if self.live.second is not None:    # both are late: the next attempt replaces the older
            self.live.let_go(self.live.first, self.request.deadline_ns)
        self.choose()

    cdef bint on_failed_answer(self, Attempt attempt):
        """A service answered with a failure. Return True to relay it; False: another target is asked instead."""
        cdef uint64_t now = event_time_ns()
        attempt.retry_granted = may_ask_another(self.request, self.live, self.selection, attempt, FAIL_STATUS, now)
        return not attempt.retry_granted

    cdef int on_result(self, Attempt attempt, AttemptResult result) except -1:
        """Act on the end of an attempt."""
        cdef Facts facts = NO_FACTS
        cdef uint64_t now = event_time_ns()
        cdef int step, event = event_of(self.live, attempt, result.outcome, self.state)
        if self.state == State.CLOSED:
            return 0
        self.charge.add(&attempt.usage)
        if event == Event.ATTEMPT_DECLINED:
            self.selection.decline(attempt.facts.index, attempt.declined == ACTION_TOO_LONG)
        if event == Event.ATTEMPT_DECLINED or event == Event.ATTEMPT_FAILED:
            self._note_failure(attempt, result, &facts, now)
        step = next_step(self.state, event, &facts)
        if is_retry(step) and not pay_for_retry(self.request, attempt, result.outcome, now):
            facts.may_retry = facts.may_resume = False
            step = next_step(self.state, event, &facts)
        if step == Step.FINISH:
            self._finish(attempt, result)
        elif step == Step.PASS_ON_REFUSAL:
            self._pass_on_refusal(attempt, result)
        elif step == Step.RESUME and prepare(<ModelRequest>self.request, self.response, attempt, result):
            self._resume(attempt, result)
        elif step == Step.BREAK or step == Step.RESUME:
            self._break(attempt, result)
        elif step == Step.GIVE_UP:
            self._give_up(now)
        elif step == Step.KEEP_WAITING:
            self._arm_deadline()
        else:
            self._retry(attempt, step, now)

    cdef int _note_failure(self, Attempt attempt, AttemptResult result, Facts* facts, uint64_t now) except -1:
        """Record a failed attempt, and collect the facts of what may follow it."""
        self.request.request_complete_ns = 0
        self.live.note_failure(attempt, result)
        if self.state == State.COMMITTED or self.state == State.RESUMING:
            facts.may_resume = may_resume(self.response, self.selection, attempt, result.outcome, self.live.tries(), now)
            return 0
        self._gather(facts, attempt)
        self.live.remove(attempt)
        facts_of_failure(facts, self.request, self.live, self.selection, attempt, result.outcome, now)

    cdef int _retry(self, Attempt attempt, int step, uint64_t now) except -1:
        """Ask another target at once, or after a pause. The retry is paid for."""
        add64(&self.request.route.rec.count[<int>R_RETRIES], 1)
        add64(&attempt.target.rec.count[<int>T_RETRIED], 1)
        if step == Step.REPEAT:
            self.selection.repeat(attempt.facts.index)
        if step == Step.BACK_OFF or step == Step.REPEAT:
            self._enter(State.BACKOFF)
            self.resume_ns = now + pause_ns(attempt, self.live.tries(), self.runtime.random())
            self._arm_deadline()
            return 0
        if attempt.moved:
            self.live.failed.pop()      # it has failed nowhere: the upstream has not begun it
            self.selection.tried &= ~((<uint64_t>1) << attempt.facts.index)
            self.live.fresh |= (<uint64_t>1) << attempt.facts.index
        self.choose()

    cdef int on_interim_answer(self, Attempt attempt, int status) except -1:
        self.stream.send_interim(status)

    cdef int on_deadline_change(self, Attempt attempt, uint64_t now) except -1:
        if self.state != State.CLOSED and not self.choosing:
            self._arm_deadline()

    cdef _give_up(self, uint64_t now):
        """No usable target is left: relay what declined, give an older answer, or reply what was tried and why."""
        if self.live.declined is not None and not (self.request.searching and self.selection.has_unasked()):
            self._pass_on_refusal(self.live.declining, self.live.declined)
            return
        if self.state != State.COMMITTED and self._replays_stale(now):
            return
        add64(&self.request.route.rec.count[<int>R_UNAVAILABLE], 1)
        self._reply_own(self.selection.unavailable(now, self.live.failed or []))

    # --- COMMITTED ---------------------------------------------------------------------------------------------------
    cdef bint on_answer(self, Attempt attempt, int64_t length):
        """Commit to the attempt that has the first content, and drop the other. False: another attempt was first."""
        cdef Request request = self.request
        cdef Response response = self.response
        if next_step(self.state, Event.ANSWER_BEGUN, &NO_FACTS) != Step.COMMIT:
            return False
        self._enter(State.COMMITTED)
        if not response.rescues:        # else the head was sent for another attempt
            settle_hedge(self.live, self.selection, attempt, monotonic_ns())
            self.live.keep_only(attempt, request.deadline_ns)
            keep_or_release(request, attempt.reader)
            if attempt.upstream.is_region:
                add64(&request.route.rec.count[<int>R_PEER], 1)
            if attempt.outcome >= 0:
                self.charge.add(&attempt.usage)
                self.charge.repay(attempt.facts.last_ns)
            response.commit(attempt, length, self.live.begun, self.live.reason(attempt, self.selection.failover_reason))
            self.selection.remember(attempt.facts.index)
            if response.tunnel:
                request.deadline_ns = NEVER     # a tunnel ends when a side ends, or when both are silent too long
                self._arm_deadline()
        if self.stream is not None and self.stream.congested():
            self.on_client_congested()
        return True

    cdef int on_answer_data(self, Attempt attempt, bytes data) except -1:
        if attempt is not self.live.first or self.state != State.COMMITTED:
            return 0
        self.selection.learn(attempt.facts.index, data)
        try:
            self.response.relay(data)
            if self.response.rescues:
                count_text(<ModelRequest>self.request)
        except ValueError as error:
            attempt.end(self.response.outcome_of(error), f"an answer that cannot be translated: {error}")

    cdef bytes translate(self, Attempt attempt, bytes content):
        return self.response.translate(attempt, content, self.live.begun)

    cdef int _finish(self, Attempt attempt, AttemptResult result) except -1:
        """End a complete answer. It is counted before its last bytes are sent: the next request may follow at once."""
        count_answered(
            self.request.route, attempt.facts.index,
            self.live.is_failover(attempt) or self.selection.failover_reason is not None,
        )
        self.selection.learn(attempt.facts.index, result.tail)
        self.response.grpc_status = 0 if self.request.response_format != PLAIN else attempt.grpc_status
        self.response.relay_end(result.tail)
        if self.flight is not None:
            self.flight.keep(result.tail, monotonic_ns())
        self._close(attempt.head.status)
        self.response.finish(result.trailers, result.tail)

    cdef int _pass_on_refusal(self, Attempt attempt, AttemptResult result) except -1:
        """Relay a provider's error about a fault of the caller; if it is too large, reply with edge's own error."""
        cdef object reply = self.response.refusal(attempt, result.tail)
        if reply is not None:
            self._reply_counted(reply.status, reply.fields, reply.content)
        elif self.on_answer(attempt, len(result.tail)):
            self._finish(attempt, result)

    cdef int _break(self, Attempt attempt, AttemptResult result) except -1:
        """End an answer that broke off after the commit point, so that the client cannot take it for complete."""
        cdef bint said = result.outcome == <int>FAIL_INBAND and self.broken is None     # by the target itself
        add64(&self.request.route.rec.uses[edge_use_of(self.request.needs)].count[<int>R_BROKEN], 1)
        if said and attempt.reader.last_event is not None:
            self.on_answer_data(attempt, attempt.reader.last_event)
        self._close(0)
        self.response.broken(result.detail, attempt.target.id, result.outcome == <int>DEADLINE, not said)

    # --- RESUMING ----------------------------------------------------------------------------------------------------
    cdef int _resume(self, Attempt attempt, AttemptResult result) except -1:
        """Let another target go on with the answer. If there is none, it ends as broken after all."""
        self._enter(State.RESUMING)
        self.broken = result
        self.live.remove(attempt)
        self.choose()

    # --- CLOSED ------------------------------------------------------------------------------------------------------
    cdef int on_client_gone(self) except -1:
        if self.state == State.CLOSED:
            return 0
        self.request.left = True
        self.live.stop(CANCELLED, self.charge)
        if self.alarm is not None:
            add64(&self.request.route.rec.uses[edge_use_of(self.request.needs)].count[<int>R_CANCELLED], 1)
        self._close(-1)

    cdef int on_client_congested(self) except -1:
        if self.response.committed:
            self.live.pause()

    cdef int on_client_drained(self) except -1:
        cdef Attempt attempt = self.live.first
        if attempt is not None and attempt.paused:
            attempt.drain_answer(monotonic_ns())
            self._arm_deadline()

    cdef _reply_own(self, object reply):
        reply = self.response.own(reply)
        self._reply_counted(reply.status, reply.fields, reply.content)

    cdef _reply_counted(self, int status, list fields, bytes content):      # to a request that has a route
        if self.charge is not None and self.request.is_model():
            self.charge.repay(monotonic_ns())
        self._reply(status, self.response.own_fields(fields, self.live.begun), content)

    cdef _reply(self, int status, list fields, bytes content):
        """Send a whole answer of edge's own, after everything is counted."""
        self.live.stop(CANCELLED, self.charge)
        fields = self.response.prepare(status, fields, content)
        self._close(status)
        self.response.send(status, fields, content)

    cdef _close(self, int status):
        """Enter CLOSED, once: write counters and record, and drop the references that would form a cycle."""
        cdef Request request = self.request
        cdef Runtime runtime = self.runtime
        cdef uint64_t now
        if self.state == State.CLOSED:
            return
        self._enter(State.CLOSED)
        now = event_time_ns()
        if self.place is not None:
            self.place.leave(self.request, now)
        if self.flight is not None:
            self.flight.end()
        if self.charge is not None:
            self.charge.settle(now)
        if self.alarm is not None:
            runtime.active -= 1
            count_unanswered(self.live, request.route)
            count_over(request.route, request.needs, runtime.worker, status, now - request.started_ns)
            runtime.deadlines.disarm(self.alarm)
            self.alarm.exchange = None
            self.alarm = None
        record(request, self.response, self.live, self.charge, status, now, self.place, self.selection)
        self.stream = None
        request.release()
        request.stream = None
        if status < 0:
            self.response.stream = None

    cdef bint _is_queued(self) noexcept:
        return self.place is not None and self.place.waiter is not None

    # --- deadlines ---------------------------------------------------------------------------------------------------
    cdef int _arm_deadline(self) except -1:
        """Set the alarm to the earliest deadline, while the exchange has one: until it is closed."""
        cdef uint64_t when = self.request.deadline_ns
        if self.alarm is None:
            return 0
        if self.resume_ns and self.resume_ns < when:
            when = self.resume_ns
        if self._is_queued():
            when = min(when, self.place.waiter.until_ns)
        when = min(when, self.live.next_deadline())
        when = min(when, self.response.next_keepalive(self.state == State.RESUMING))
        self.runtime.deadlines.arm(self.alarm, when)

    cdef check_deadlines(self, uint64_t now):
        cdef int step
        if self.state == State.CLOSED:
            return
        if now >= self.request.deadline_ns:
            return self._expire(now, "the total deadline of the exchange", DEADLINE)
        if self.resume_ns and now >= self.resume_ns or self._is_queued() and now >= self.place.waiter.until_ns:
            step = next_step(self.state, Event.MOMENT_OVER, &NO_FACTS)
            if step == Step.SHED:
                self._shed(now)
            elif step == Step.LOOK_AGAIN:
                self._ask_cache()
            else:
                self.choose()
            return
        self.live.check_deadlines(now)
        if self.live.hedge_ns and now >= self.live.hedge_ns:
            self._start_hedge(now)
        if self.state == State.CLOSED:
            return
        if now >= self.response.next_keepalive(self.state == State.RESUMING):
            self.response.send_keepalive(now, self.live.begun, self.live.why(self.selection.failover_reason))
        self._arm_deadline()

    cdef _expire(self, uint64_t now, str why, int outcome):
        """Settle the running attempts and tell the client, because a deadline has passed or the node stops."""
        cdef Facts facts
        self._gather(&facts, None)
        if next_step(self.state, Event.DEADLINE_OVER, &facts) == Step.END_ATTEMPTS:
            self.live.expire(outcome, why, self.charge)
        else:
            self._give_up(now)      # an answer that has begun without an attempt breaks off there

    cdef cut_off(self, uint64_t now):
        """End the exchange because the node stops: the client is told so, and no target is blamed."""
        if self.state != State.CLOSED:
            self._expire(now, "this edge is stopping", CANCELLED)
