from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int64_t
from native.balance.balancer cimport CELL_STREAM
from native.balance.declined cimport declined_alike
from native.codec.field_rules cimport field_value
from native.codec.grpc cimport GRPC_UNAVAILABLE, GRPC_UNKNOWN, is_grpc
from native.codec.json_member cimport member_text, response_of_events
from native.codec.likeness cimport body_mark, quotes, text_mark
from native.codec.spoken cimport PICTURE_SAID
from native.codec.head cimport NO_BODY, TUNNEL, UNKNOWN_LENGTH, Head
from native.http.stream cimport ClientStream
from native.io.atomics cimport add64
from native.io.clock cimport event_time_ns, monotonic_ns
from native.balance.price cimport Price, Used
from native.proxy.accounting cimport (
    count_usage, note_first_content, note_good_answer, price_of, settle_credential,
)
from native.proxy.answer_reader cimport (
    ACTION_DECLINED, ACTION_FAIL, ACTION_RELAY, ACTION_UNCLEAR, BARE, CALL, EVENTS, FAULT, PIPE, RAW, READ_ABSENT, READ_CONTENT,
    READ_DATA, READ_DATA_FAILED, READ_DECLINED, READ_DONE, READ_ON, READ_REFUSED, READ_WHOLE, AnswerReader, new_reader,
)
from native.proxy.attempt cimport ANSWERING, CONNECTING, OVER, RELAYING
from native.proxy.issuer cimport owner_of, remember
from native.proxy.measure cimport Basis, measure
from native.proxy.needs cimport lacking
from native.proxy.model_request cimport ModelRequest
from native.proxy.request cimport COPY_MOST, PLAIN
from native.proxy.router cimport CAPABILITY_OF, FREE, NO_OUTPUT, OPERATION_NAMES, PICTURES, UNREAD
from native.proxy.stored_attempt cimport StoredAttempt
from native.proxy.stored_request cimport StoredRequest
from native.state.allowance cimport BOUND_REQUESTS, bounds_learn, note_output
from native.state.shared_state cimport (
    CANCELLED, CLIENT_FAULT, FAIL_MALFORMED, FAIL_STATUS, FAIL_TRUNCATED, MISCONFIGURED, OK, RATE_LIMITED,
    REFUSED_CREDENTIAL, T_DROPPED_EVENTS, edge_use_of,
)

# A prompt has at least this many tokens before its count is doubted: ids stand for conversations and files that are not
# in the body, and no model takes more.
cdef uint64_t MOST_PROMPT = 2_097_152


cdef class ModelAttempt(Attempt):
    """Asks a target of a model. Its answer is checked before it is relayed, and its tokens are counted."""

    cdef int prepare(self) except -1:
        (<ModelRequest>self.request).with_usage = self.asks_usage

    cdef int hear_head(self, Head head, uint64_t now) except -1:
        if 200 <= head.status < 300:
            if self.asks_usage:
                self.target.usage_accepted = True
            elif self.usage_refused and not self.upstream.is_region:
                self.target.refuse_usage((<ModelRequest>self.request).wildcard, now)
        self.reader.stream_begun = self.request.answer_begun
        self._act(self.reader.begin(head, self.request.latency_cell == CELL_STREAM), now)

    cdef int hear_data(self, bytes data) except -1:
        if self.reader.decoder is not None:
            data = self.reader.decode(data)
            if data is None:
                self.end(self.reader.outcome, self.reader.detail)
                return 0
            if not PyBytes_GET_SIZE(data):
                return 0
        if self.reader.mode == RAW:
            self.events.on_answer_data(self, data)
            return 0
        self.reader.stream_begun = self.request.answer_begun
        self._act(self.reader.feed(data), self.facts.last_ns)

    cdef int hear_end(self, list trailers) except -1:
        if self.reader.is_cut():
            self.end(self.reader.outcome, self.reader.detail)
            return 0
        if self.reader.mode == RAW:
            self.finish(OK, None, 0, trailers, None)
            return 0
        self.reader.stream_begun = self.request.answer_begun
        if self.reader.mode == EVENTS:
            self._act(self.reader.feed_end(), event_time_ns())
            if self.phase == OVER:
                return 0
        self._act(self.reader.finish(), event_time_ns())

    cdef int _act(self, int reading, uint64_t now) except -1:
        """Act on a Reading."""
        cdef AnswerReader reader = self.reader
        cdef uint64_t retry_after_ns = 0
        if reading == READ_ON:
            return 0
        if reading == READ_DATA:
            self.events.on_answer_data(self, reader.ready)
        elif reading == READ_CONTENT:
            if self.reader.mode == EVENTS:
                self._note_issued(reader.ready)
            if self._first_content(now, self.head.length if reader.mode == RAW else UNKNOWN_LENGTH):
                if reader.ready:
                    self.events.on_answer_data(self, reader.ready)
                if reader.outcome >= 0:
                    self.end(reader.outcome, reader.detail)
                elif self.phase != OVER:
                    self.events.on_deadline_change(self, now)
        elif reading == READ_DATA_FAILED:
            if reader.ready:
                self.events.on_answer_data(self, reader.ready)
            self.end(reader.outcome, reader.detail)
        elif reading == READ_WHOLE:
            self._offer_whole(reader.ready, now)
        elif reading == READ_DONE:
            if reader.ready:
                self.events.on_answer_data(self, reader.ready)
            self.finish(OK, None, 0, None, None)
        elif (reading == READ_REFUSED or reading == READ_DECLINED) and self.asks_usage and self._refuses_usage():
            self._ask_without_usage(now)
        elif reading == READ_REFUSED and self.says_unknown():
            self.facts.content_ns = self.facts.head_ns
            self.declined = ACTION_DECLINED
            self.finish(CLIENT_FAULT, reader.detail, 0, None, reader.ready)
        elif reading == READ_REFUSED:
            self.facts.content_ns = self.facts.head_ns
            self.finish(CLIENT_FAULT, reader.detail, 0, None, reader.ready)
        elif reading == READ_DECLINED:
            self._decline(now)
        else:
            if reader.asks_to_wait:
                retry_after_ns = self.runtime.retry_after_ns(self.head.fields, reader.text)
            if reading == READ_ABSENT:
                self.absent = True
                self.end(CLIENT_FAULT, reader.detail, retry_after_ns)
                return 0
            if reader.outcome == <int>RATE_LIMITED and retry_after_ns and self.charged:
                bounds_learn(&self.target.allowance.bounds, now, BOUND_REQUESTS, 0, retry_after_ns)
            self.end(reader.outcome, reader.detail, retry_after_ns)

    cdef int _note_issued(self, bytes content) except -1:
        """Remember the id of a response that its provider stores, before the client has it."""
        cdef ModelRequest request = <ModelRequest>self.request
        cdef bytes name
        if not request.remembers or self.foreign:
            return 0
        name = response_of_events(content) if self.reader.mode == EVENTS else member_text(content, 0, None, b"id")
        if name is not None:
            request.kept_as = name
            remember(
                request, self.facts.index, self.head.fields if self.upstream.is_region else None, [name],
                owner_of(request), False,
            )

    cdef int _decline(self, uint64_t now) except -1:
        """The target does not take this request. If other requests are declined alike, it takes none."""
        cdef AnswerReader reader = self.reader
        cdef ModelRequest request = <ModelRequest>self.request
        cdef int outcome = CLIENT_FAULT
        cdef int status = self.head.status
        cdef bytes text = b"" if reader.ready is None else reader.ready
        cdef bytes content = request.content
        self.declined = reader.declined
        self.facts.content_ns = self.facts.head_ns
        if reader.declined == ACTION_DECLINED and self.facts.claims.needs:
            self.facts.lacking = lacking(text, self.facts.claims.needs)
        if reader.declined == ACTION_UNCLEAR and content is not None and request.sought is None:
            if quotes(text, content, self.upstream.model, request.model_as_written()):
                self.declined = ACTION_DECLINED
            elif self.offered() and declined_alike(
                self.target.rec, now, status, text_mark(status, text), body_mark(content), self.facts.key
            ):
                outcome = REFUSED_CREDENTIAL if status == 402 or status == 403 else MISCONFIGURED
        self.finish(outcome, reader.detail, 0, None, reader.ready)

    cdef bint judge_part(self):
        cdef int reading = self.reader.judge_part()
        if reading == READ_ON:
            return False
        self._act(reading, event_time_ns())
        return True

    cdef bint _refuses_usage(self):
        """Return whether a 400 or 422 may be about stream_options, which edge has added.

        It is if it names them. One that does not may still be, until the target has once accepted them."""
        cdef bytes said = self.reader.ready
        if self.detached:
            return False        # its exchange may be over, and the request's body is gone
        if self.head.status != 400 and self.head.status != 422:
            return False
        if said is not None and (b"stream_options" in said or b"include_usage" in said):
            return True
        return not self.target.usage_accepted

    cdef int _ask_without_usage(self, uint64_t now) except -1:
        """Ask the target again, without stream_options. Neither the client nor the target's health notices."""
        cdef ClientStream stream = self.stream
        cdef bint rescues = self.reader.rescues
        cdef int got
        self.stream = None
        if stream is not None:
            stream.discard()
        self.asks_usage = False
        self.usage_refused = True
        self.tokens_told = False
        self.head = None
        self.body_done = self.sent = False
        self.reader.release()
        self.reader = new_reader(
            self.upstream, self.runtime.acceptor, self.request.share, self.runtime.limits.max_response,
            self.request.response_format != PLAIN,
            (<ModelRequest>self.request).peek.structured
        )
        self.reader.rescues = self.reader.keeps = rescues
        if self.request.is_copy:
            self.reader.limit = min(self.reader.limit, COPY_MOST)
        self.phase = CONNECTING
        self.facts.started_ns = now
        self.facts.waiting_ns = self.facts.asked_ns = self.facts.head_ns = self.facts.last_ns = 0
        got = self.upstream.acquire(self)
        if got < 0:
            self.end(CANCELLED, "every connection to it is in use")
        elif got == 0:
            self.facts.waiting_ns = now
        if self.phase != OVER:
            self.events.on_deadline_change(self, now)

    cdef bint _first_content(self, uint64_t now, int64_t length):
        """Offer the first content to the owner; return whether the attempt goes on. It ends if another was first."""
        self.facts.content_ns = now
        note_good_answer(self.route, self.target, &self.facts, now, self.runtime.random())
        note_first_content(self.route, self.target, &self.facts, now)
        if self.events.on_answer(self, length):
            if self.phase == ANSWERING:
                self.phase = RELAYING
            return self.phase != OVER
        self.end(OK, "another target answered first")
        return False

    cdef int _offer_whole(self, bytes content, uint64_t now) except -1:
        """Settle a complete answer, then offer it: the client's next request may reach another worker at once."""
        cdef AttemptEvents events = self.events
        if self.reader.translated:
            try:
                content = events.translate(self, content)
            except ValueError as error:
                self.end(FAIL_MALFORMED, f"an answer that cannot be translated: {error}")
                return 0
        self._note_issued(content)
        self.facts.content_ns = self.facts.head_ns
        note_first_content(self.route, self.target, &self.facts, now)
        self.settle(OK, now, 0)
        if not events.on_answer(self, PyBytes_GET_SIZE(content)):
            self.end(OK, "another target answered first")
        elif self.phase != OVER:
            self.phase = RELAYING
            self.finish(OK, None, 0, None, content)

    cdef int settle_usage(self, int outcome, uint64_t now) except -1:
        """Charge target, route and credential; the exchange charges the caller."""
        cdef ModelRequest request = <ModelRequest>self.request
        cdef bytes peer_target = None
        cdef Price price
        cdef Basis basis
        cdef Used used
        cdef int rule = self.target.media_rule
        if self.reader.dropped:
            add64(&self.target.rec.count[<int>T_DROPPED_EVENTS], self.reader.dropped)
        if <int>FREE >> request.operation & 1:
            return 0
        if self.upstream.is_region and self.head is not None:
            peer_target = field_value(self.head.fields, b"x-edge-target")
        price = price_of(request, self.target, self.upstream.is_region, peer_target)
        basis.complete = outcome == <int>OK and not self.detached
        basis.shown = self.phase == RELAYING or outcome == <int>OK
        basis.left = (request.left or self.outrun) and self.facts.asked_ns and self.reader.mode != FAULT
        basis.silent = <int>NO_OUTPUT >> request.operation & 1
        basis.output_least = PICTURE_SAID // 4 * request.peek.choices if <int>PICTURES >> request.operation & 1 else 0
        basis.prompt = request.prompt_by(rule)
        basis.picture_prompt = request.media.pictures[rule]
        basis.sound_prompt = request.media.sound[rule]
        basis.prompt_most = max(MOST_PROMPT, <uint64_t>request.text_size + basis.prompt)
        basis.output_most = request.output_most(price)
        basis.route = self.route.rec
        measure(self.reader, &basis, &used)
        count_usage(request, self.facts.index, &self.usage, &used, price, self.upstream.is_region)
        if outcome == <int>OK and not self.detached and request.continuation is None:
            note_output(self.route.rec, self.usage.output_tokens // request.peek.choices)
        if self.charged:
            self.charged = False
            settle_credential(
                self.target, &self.usage, request.prompt_guess + request.output_guess, self.tokens_told, self.sent, now
            )

    cdef uint64_t mark(self):
        cdef bytes content = (<ModelRequest>self.request).content
        # a long body is dropped once its answer has begun: then those of one size are taken for the same
        return (body_mark(content) if content is not None else <uint64_t>self.request.body_size) | 1

    cdef bint offered(self):
        """Whether the target claims to offer this path: a 404 for what it never offered says nothing about it. Where it
        declares nothing, it claims what nearly every target has."""
        offered = self.target.plan.capabilities
        operation = self.request.operation
        if operation in CAPABILITY_OF:
            return CAPABILITY_OF[operation] in offered
        return not offered or OPERATION_NAMES.get(operation) in offered


cdef str describe_type(bytes content_type):
    """Return a content type in words; what an upstream writes is bounded."""
    return "no content type" if content_type is None else f"content type {content_type[:64].decode('latin-1')!r}"


cdef class ServiceAttempt(Attempt):
    """Asks a service. Its answer is relayed as it comes; a gRPC call is judged by its status."""

    cdef int hear_head(self, Head head, uint64_t now) except -1:
        self.reader.head = head
        self._judge_head(head, now)

    cdef int hear_data(self, bytes data) except -1:
        if self.reader.mode == CALL:
            note_good_answer(self.route, self.target, &self.facts, self.facts.last_ns, self.runtime.random())
        self.events.on_answer_data(self, data)

    cdef int hear_end(self, list trailers) except -1:
        if self.reader.mode == CALL:
            self._judge_call(None if trailers is None else field_value(trailers, b"grpc-status"), trailers)
        elif self.reader.mode == BARE:
            self._judge_call(field_value(self.head.fields, b"grpc-status"), self.head.fields)
        else:
            self.finish(OK, None, 0, trailers, None)

    cdef int _judge_head(self, Head head, uint64_t now) except -1:
        """Relay a service's answer at once, unless it is a failure that may be retried at another target."""
        cdef int action = self.reader.action()
        if head.status == 101:
            self.reader.mode = PIPE
            self.facts.content_ns = now
            self.body_done = False      # the client sends into the tunnel, and may be paused
            self.settle(OK, now, 0)
            self._hand_on(TUNNEL)
            return 0
        if self.request.grpc and head.status == 200:
            if not is_grpc(head.content_type) and field_value(head.fields, b"grpc-status") is None:
                # 200 is none of the statuses that gRPC's table for answers of other kinds names
                self.request.call_code = GRPC_UNKNOWN
                self.end(FAIL_MALFORMED, f"status 200 with {describe_type(head.content_type)}, which is no gRPC")
                return 0
            if head.length == NO_BODY:
                self.reader.mode = BARE
                return 0
            self.reader.mode = CALL
        else:
            self.reader.mode = RAW
            if action == ACTION_FAIL:
                if not self.events.on_failed_answer(self):
                    self.end(FAIL_STATUS, f"status {head.status}")
                    return 0
                self.settle(FAIL_STATUS, now, 0)
            else:
                note_good_answer(self.route, self.target, &self.facts, now, self.runtime.random())
        self.facts.content_ns = now
        if action == ACTION_RELAY:
            note_first_content(self.route, self.target, &self.facts, now)
        self._hand_on(head.length)

    cdef int _hand_on(self, int64_t length) except -1:
        if self.events.on_answer(self, length) and self.phase == ANSWERING:
            self.phase = RELAYING

    cdef int _judge_call(self, bytes status, list trailers) except -1:
        """Judge a gRPC call by its status. UNAVAILABLE before any message may be retried at another target. A status
        that reports a failure of the server counts against the target; any other is its answer to the caller."""
        cdef uint64_t now = monotonic_ns()
        cdef AnswerReader reader = self.reader
        reader.read_call_end(status, trailers, self.request.deadline_ns - now if self.request.deadline_ns > now else 0)
        self.grpc_status = reader.grpc_status
        if reader.grpc_status < 0:
            self.request.call_code = GRPC_UNKNOWN
            self.end(FAIL_TRUNCATED, "the call ended without a grpc-status")
            return 0
        if not self.facts.content_ns:
            self.facts.content_ns = self.facts.head_ns
        if reader.grpc_status == <int>GRPC_UNAVAILABLE and reader.mode == BARE and (
            not self.events.on_failed_answer(self)
        ):
            self.end(FAIL_STATUS, "grpc status UNAVAILABLE", reader.retry_after_ns)
            return 0
        self.settle(reader.outcome, now, reader.retry_after_ns)
        if self.reader.mode == BARE:
            self._hand_on(NO_BODY)
            trailers = None
        if self.phase != OVER:
            self.finish(OK, None, 0, trailers, None)


cdef Attempt new_attempt(AttemptEvents events, Request request, const Choice* choice, uint64_t now):
    cdef int index = choice.index
    cdef Attempt attempt
    if isinstance(request, StoredRequest):
        attempt = StoredAttempt.__new__(StoredAttempt)
    elif request.is_model():
        attempt = ModelAttempt.__new__(ModelAttempt)
    else:
        attempt = ServiceAttempt.__new__(ServiceAttempt)
    attempt.events = events
    attempt.request = request
    attempt.runtime = request.runtime
    attempt.route = request.route
    attempt.target = request.route.pool.target_at(index)
    attempt.upstream = attempt.target.pool
    attempt.foreign = request.is_foreign(index)
    attempt.reader = new_reader(
        attempt.upstream, request.runtime.acceptor, request.share, request.runtime.limits.max_response,
        request.response_format != PLAIN or attempt.foreign,
        request.is_model() and (<ModelRequest>request).peek.structured
    )
    if request.is_copy:
        attempt.reader.limit = min(attempt.reader.limit, COPY_MOST)
    attempt.reader.unread = request.is_model() and <int>UNREAD >> request.operation & 1
    attempt.reader.rescues = request.may_be_rescued(index)
    attempt.reader.keeps = attempt.reader.rescues and (<ModelRequest>request).continuation is None
    attempt.charged = attempt.target.allowance is not None
    # Only in the body that the client wrote: a translation asks in its own words.
    attempt.asks_usage = not attempt.foreign and request.is_model() and (<ModelRequest>request).wants_usage and (
        attempt.target.may_ask_usage((<ModelRequest>request).wildcard, now)
    )
    attempt.outcome = -1
    attempt.grpc_status = -1
    attempt.facts.index = index
    attempt.facts.admit = choice.admit
    attempt.facts.generation = choice.generation
    attempt.facts.claims = choice.claims
    attempt.facts.lacking = -1
    attempt.facts.use = edge_use_of(request.needs)
    attempt.facts.latency_cell = request.latency_cell
    attempt.facts.key = request.identity.key
    attempt.facts.caller_bound = request.bounded
    attempt.facts.request_started_ns = request.started_ns
    attempt.facts.started_ns = now
    return attempt
