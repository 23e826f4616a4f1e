cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memcmp
from native.codec.grpc cimport GRPC_DEADLINE_EXCEEDED, frame, is_grpc, read_status
from native.codec.usage_filter cimport hide_usage
from native.codec.head cimport NO_BODY, TUNNEL, UNKNOWN_LENGTH
from native.codec.field_list cimport add_item, add_items, has_name, new_list
from native.codec.field_names cimport NOT_FOR_CLIENTS, is_clear, kept_name, known_names, mark_names
from native.codec.field_rules cimport field_value
from native.codec.numbers cimport decimal
from native.io.atomics cimport add64
from native.io.clock cimport monotonic_ns
from native.proxy.answer_reader cimport EVENTS
from native.proxy.hooks import Reply
from native.proxy.model_request cimport ModelRequest
from native.proxy.request cimport CHAT_STREAM, PLAIN
from native.proxy.kept_paths cimport dialect_of_client, dialect_of_kept
from native.proxy.router cimport DIALECT_OF, OPERATION_MODELS, OPERATION_UNKNOWN, STORED
from native.proxy.runtime cimport NEVER
from native.state.answer_store cimport CacheEntry
from native.state.callers cimport Caller
from native.state.shared_state cimport CANCELLED, FAIL_MALFORMED, R_KEEPALIVES, R_RESCUED

# Fields of a model's answer that are not relayed. The x-edge-* fields are written anew; a peer's are read first.
# Which web pages may read an answer is the listener's to say.
cdef frozenset ANSWER_WITHHELD = frozenset((
    b"set-cookie", b"alt-svc", b"strict-transport-security", b"x-edge-request-id", b"x-edge-target", b"x-edge-region",
    b"x-edge-attempts", b"x-edge-reason", b"access-control-allow-origin", b"access-control-allow-credentials",
    b"access-control-allow-headers", b"access-control-allow-methods", b"access-control-expose-headers",
    b"access-control-max-age", b"trailer", b"x-edge-dropped",
))
cdef bytes COMMENT = b": edge is waiting for an answer\n\n"
cdef bytes CUT_COMMENT = b": edge dropped an event that is not JSON\n\n"
cdef tuple ONE_ATTEMPT = (b"x-edge-attempts", b"1")
# Fields that are added to those of an answer: of edge's own, and of a caller's limits.
cdef int ADDED = 8
cdef int LIMIT_FIELDS = 6
cdef tuple JSON_CONTENT = (b"content-type", b"application/json")
cdef tuple GRPC_CONTENT = (b"content-type", b"application/grpc")
# No longer content type is repeated.
cdef int LONGEST_TYPE = 64
# Proxies in front that know this field pass an event stream on as it comes (nginx).
cdef tuple NO_BUFFERING = (b"x-accel-buffering", b"no")
# Parsed heads hold these objects themselves, so that a comparison of identity finds the fields.
cdef bytes DATE = kept_name(b"date")
cdef bytes REQUEST_ID = kept_name(b"x-request-id")
# A client's longer id is not repeated, nor a provider's.
cdef Py_ssize_t LONGEST_ID = 256


cdef bint is_event_stream(bytes content_type) noexcept:
    return content_type is not None and PyBytes_GET_SIZE(content_type) >= 17 and (
        PyBytes_AS_STRING(content_type)[5] | 0x20 == c"e" and content_type[:17].lower() == b"text/event-stream"
    )


cdef tuple told_id(Request request):
    """Return the field that identifies a request to its client: the one that the client sent, or edge's.

    What a client sent is repeated to it up to LONGEST_ID bytes."""
    if has_name(request.head.fields, REQUEST_ID):
        for pair in request.head.fields:
            if (<tuple>pair)[0] is REQUEST_ID:
                if PyBytes_GET_SIZE(<bytes>(<tuple>pair)[1]) > LONGEST_ID:
                    break
                return <tuple>pair
    return REQUEST_ID, request.identifier


cdef int complete_answer(list sent, Request request, bytes content_type, uint64_t now) except -1:
    """Add what every answer carries to the fields of an upstream's answer, where it has not said it itself."""
    if not has_name(sent, REQUEST_ID):
        add_item(sent, told_id(request))
    if not has_name(sent, DATE):
        add_item(sent, request.runtime.date_field(now))
    if is_event_stream(content_type) and field_value(sent, b"x-accel-buffering") is None:
        add_item(sent, NO_BUFFERING)
    return 0


cdef list complete_own(list fields, Request request):
    """Add what every answer carries to the fields of an answer of edge's own."""
    if request.identifier is None:
        request.identifier = request.runtime.next_id()
    fields = list(fields)
    for pair in ((b"x-edge-request-id", request.identifier), told_id(request)):
        if field_value(fields, pair[0]) is None:
            fields.append(pair)
    if field_value(fields, DATE) is None:
        fields.append(request.runtime.date_field(monotonic_ns()))
    if request.page_fields is not None:
        fields.extend(request.page_fields)
    return fields


cdef inline bint is_grant(const char* name, Py_ssize_t size) noexcept:
    """Return whether a field reports a provider's rate limit."""
    return (size > 12 and memcmp(name, b"x-ratelimit-", 12) == 0) or (
        size > 20 and memcmp(name, b"anthropic-ratelimit-", 20) == 0
    ) or (size > 13 and memcmp(name, b"x-tokenlimit-", 13) == 0) or (
        size > 16 and memcmp(name, b"ratelimitbysize-", 16) == 0
    ) or (size > 18 and memcmp(name, b"x-ratelimitbysize-", 18) == 0)


cdef list model_fields(Caller caller, list fields):
    """Return the fields of a model's answer to relay. The provider's rate limits are edge's, not the caller's."""
    cdef list kept = new_list(len(fields) + (ADDED if caller is None else ADDED + LIMIT_FIELDS))
    cdef bytes name
    for pair in fields:
        name = <bytes>(<tuple>pair)[0]
        if is_clear(name, NOT_FOR_CLIENTS) or (name not in ANSWER_WITHHELD and (
            caller is None or not is_grant(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
        )):
            add_item(kept, pair)
    return kept


# A clear name needs no second look, so rate limits are none, whoever asks.
mark_names(ANSWER_WITHHELD, NOT_FOR_CLIENTS)
mark_names([
    name for name in known_names() if is_grant(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
], NOT_FOR_CLIENTS)


cdef Origin origin_of(Request request, Attempt attempt, int attempts):
    """Return where an answer comes from. Another region's edge reports its own target, and its attempts are added."""
    cdef Origin origin = Origin.__new__(Origin)
    cdef bytes target = field_value(attempt.head.fields, b"x-edge-target")
    cdef bytes region = field_value(attempt.head.fields, b"x-edge-region")
    cdef bytes more = field_value(attempt.head.fields, b"x-edge-attempts")
    origin.target = attempt.target.id.encode()
    origin.region = request.runtime.region
    origin.attempts = attempts
    if attempt.upstream.is_region:
        if target is not None:
            origin.target = target
        origin.region = attempt.target.plan.provider.encode() if region is None else region
        origin.attempts += int(more) - 1 if more is not None and more.isdigit() else 0
    return origin


cdef dict answer_facts(Request request, Attempt attempt, int attempts):
    """Return native.proxy.hooks.AnswerFacts."""
    cdef Origin origin = origin_of(request, attempt, attempts)
    return {
        "target": origin.target.decode("latin-1"), "region": origin.region.decode("latin-1"),
        "attempts": origin.attempts, "request_id": request.identifier.decode(),
    }


cdef list answer_fields(Request request, Attempt attempt, int attempts, str reason):
    """Return the x-edge-* fields, which tell where an answer comes from."""
    cdef list fields = new_list(5)
    cdef Origin origin
    add_item(fields, (b"x-edge-request-id", request.identifier))
    if attempt.upstream.is_region:
        origin = origin_of(request, attempt, attempts)
        fields.append((b"x-edge-target", origin.target))
        fields.append((b"x-edge-region", origin.region))
        fields.append((b"x-edge-attempts", decimal(origin.attempts)))
    else:
        add_item(fields, attempt.upstream.told)
        add_item(fields, request.runtime.region_field)
        add_item(fields, ONE_ATTEMPT if attempts == 1 else (b"x-edge-attempts", decimal(attempts)))
    if reason is not None:
        fields.append((b"x-edge-reason", reason.encode()))
    return fields


cdef class Origin:
    def __repr__(self):
        return f"<Origin {self.target} {self.region} attempts={self.attempts}>"


cdef Response new_response(Request request, ServerStream stream):
    cdef Response response = Response.__new__(Response)
    response.runtime = request.runtime
    response.request = request
    response.stream = stream
    response.grpc_status = -1
    response.last_sent_ns = request.started_ns
    return response


@cython.freelist(64)
cdef class Response:
    """The response to one client."""

    def __repr__(self):
        return f"<Response source={self.source} committed={self.committed}>"

    cdef bytes translate(self, Attempt attempt, bytes content, int attempts):
        if attempt.foreign:
            content = (<ModelRequest>self.request).conversation.answer(
                attempt.upstream.dialect, content, self.request.identifier.decode()
            )
        if self.request.response_format == PLAIN:
            return content
        return frame(self.runtime.calls.write(content, answer_facts(self.request, attempt, attempts)))

    cdef object refusal(self, Attempt attempt, bytes content):
        if content is None:
            return self.own(self.runtime.replies.too_long(attempt.head.status, self.runtime.limits.max_response))
        if attempt.foreign:
            return self.translate_error(attempt, content)
        if self.stream_begun or self.request.response_format != PLAIN:
            return Reply(attempt.head.status, [], content)
        return None

    cdef object translate_error(self, Attempt attempt, bytes content):
        cdef Request request = self.request
        cdef int status = attempt.head.status
        content = self.runtime.translations.error(
            attempt.upstream.dialect, (<ModelRequest>request).dialect, status, content, request.identifier.decode()
        )
        return Reply(status, [JSON_CONTENT, attempt.upstream.told], content)

    cdef commit(self, Attempt attempt, int64_t length, int attempts, str reason):
        """Send the head: after this nothing is retried."""
        cdef Head head = attempt.head
        cdef Request request = self.request
        cdef Caller caller = request.identity.caller
        cdef list fields = answer_fields(request, attempt, attempts, reason)
        cdef list sent
        cdef tuple written
        self.committed = True
        self.source = FROM_ATTEMPT
        if self.flight is not None:
            self.flight.begin_answer(head, attempt.upstream.told[1])
        self.reader = attempt.reader
        self.events = attempt.reader.mode == EVENTS
        self.hides_usage = attempt.asks_usage and self.events
        if attempt.foreign:
            written = (<ModelRequest>request).written_for(attempt.upstream)
            (<ModelRequest>request).written = None      # nothing is sent again
            if written is not None and written[2]:
                fields.append((b"x-edge-dropped", ", ".join(written[2]).encode("ascii", "replace")))
            if self.events:
                self.dialects = (<ModelRequest>request).conversation.stream(
                    attempt.upstream.dialect, request.identifier.decode()
                )
        if request.response_format != PLAIN:
            if request.response_format == CHAT_STREAM:
                self.translator = self.runtime.calls.writer(answer_facts(request, attempt, attempts))
            self.stream.send_head(200, complete_own([GRPC_CONTENT, *fields], request), UNKNOWN_LENGTH)
        elif not self.stream_begun:
            if self.flight is not None:
                fields.append((b"x-edge-cache", self.flight.result(False).encode()))
            if not request.route.is_service:
                sent = model_fields(caller, head.fields)
                if attempt.upstream.is_region:
                    dropped = field_value(head.fields, b"x-edge-dropped")
                    if dropped is not None:
                        sent.append((b"x-edge-dropped", dropped))
                if caller is not None:
                    caller.add_rate_limits(sent, attempt.facts.last_ns)
            else:
                sent = new_list(len(head.fields) + len(fields) + ADDED)
                add_items(sent, head.fields)
            add_items(sent, fields)
            if request.page_fields is not None and field_value(sent, b"access-control-allow-origin") is None:
                add_items(sent, request.page_fields)        # unless the service has its own rules
            complete_answer(sent, request, head.content_type, attempt.facts.last_ns)
            if length == TUNNEL:
                self.tunnel = True
                self.stream.is_call = True      # it takes its time, as far as memory permits
                sent.append((b"upgrade", head.upgrade))
            self.stream.send_head(head.status, sent, length)

    cdef relay(self, bytes data):
        cdef ServerStream stream = self.stream
        if stream is None:
            return
        if self.hides_usage:
            data = hide_usage(data)
        if PyBytes_GET_SIZE(data):
            if self.dialects is None:
                self._send(data)
            else:
                for events in self.dialects.push_events(data):
                    self._send(<bytes>events)
        # not within a long event, of which a part has been sent
        if self.reader.cut != self.told_cut and (self.reader.scanner is None or not self.reader.scanner.raw):
            self._tell_cut()

    cdef bint has_comments(self):
        return self.request.response_format == PLAIN and DIALECT_OF.get(self.request.operation) != "gemini"

    cdef resume(self, Attempt attempt, object continuation, str told, uint64_t now):
        self.rescues += 1
        self.reader = attempt.reader
        self.told_cut = 0
        self.dialects = continuation
        self.hides_usage = False
        if self.flight is not None:
            self.flight.drop()
        if self.has_comments():
            self.stream.send_data(b": edge: " + told.encode() + b"\n\n")
        self.last_sent_ns = now

    cdef int outcome_of(self, object error):
        self.spoiled = self.rescues == 0
        return CANCELLED if getattr(error, "blameless", False) else FAIL_MALFORMED

    cdef relay_end(self, bytes tail):
        """Send the events that complete a translated stream. They belong to what is kept of the answer."""
        if self.reader is not None and self.reader.cut != self.told_cut:
            self._tell_cut()
        if self.rescues:
            add64(&self.request.route.rec.count[<int>R_RESCUED], 1)
        if self.dialects is not None and self.stream is not None:
            events = <bytes>self.dialects.finish()
            if events:
                self._send(events)
        if tail is not None:
            self.sent_bytes += PyBytes_GET_SIZE(tail)

    cdef _tell_cut(self):
        """Say in a comment that an event was not relayed, where the client's dialect has comments. What lacks a part is not kept for others."""
        self.told_cut = self.reader.cut
        if self.flight is not None and self.reader.dropped:
            self.flight.drop()
        if self.has_comments() and self.stream is not None:
            self.stream.send_data(CUT_COMMENT)

    cdef _send(self, bytes data):
        if self.translator is None:
            if self.flight is not None:
                self.flight.take(data)
            self.sent_bytes += PyBytes_GET_SIZE(data)
            self.stream.send_data(data)
            return
        for message in self.translator.push_events(data):
            self.sent_bytes += PyBytes_GET_SIZE(<bytes>message)
            self.stream.send_data(frame(message))

    cdef finish(self, list trailers, bytes tail):
        if tail is not None:
            self.stream.send_data(tail)
        if self.request.response_format != PLAIN:
            trailers = [(b"grpc-status", b"0")]
        self.stream.send_end(trailers)
        self.stream = None

    cdef broken(self, str detail, str target, bint deadline, bint say):
        """End an answer that broke off after the commit point, so that the client cannot take it for complete."""
        cdef list trailers = None
        if self.request.grpc:
            # at its deadline a call may have waited for the caller itself
            deadline = deadline or self.request.caller_is_over(monotonic_ns(), False)
            trailers = self.runtime.replies.broken_call(
                <int>GRPC_DEADLINE_EXCEEDED if deadline else self.request.call_code, detail, target
            )
            self.grpc_status = read_status(field_value(trailers, b"grpc-status"))
            self.stream.send_end(trailers)
        elif self.events:
            # An error event was sent, and no [DONE]: that tells it from a complete answer, so the framing may end well.
            # An SDK that has read the event must not fail over the transport. With ``say`` unset it was the target's.
            if say:
                self.stream.send_data(self._event(self.runtime.replies.event(
                    "broken", f"{detail}{self._where_kept()}", target, self.request.identifier.decode()
                )))
            self._end_error()
        else:
            self.stream.cut()
        self.stream = None

    cdef str _where_kept(self):
        """Return where the client may look for a broken answer that its provider stores; nobody else goes on with it."""
        cdef bytes name = (<ModelRequest>self.request).kept_as if isinstance(self.request, ModelRequest) else None
        if name is None or PyBytes_GET_SIZE(name) > LONGEST_ID:
            return ""
        return f"; what its provider has stored of it is {name.decode('utf-8', 'replace')}"

    cdef object refused(self, Refusal why):
        cdef object reply
        cdef str detail = why.detail
        if why.kind == "buffers_full":
            detail = str(1 + self.runtime.random() % 3)     # spread, so that clients do not all come back at once
            self.request.body = None
        reply = self.own(self.runtime.replies.problem(why.kind, detail))
        return reply if why.fields is None else Reply(reply.status, [*reply.fields, *why.fields], reply.content)

    cdef object own(self, object reply):
        """Return an error of edge's own in the client's dialect."""
        cdef str dialect = <str>DIALECT_OF.get(self.request.operation)
        if dialect is None and <int>STORED >> self.request.operation & 1:
            dialect = dialect_of_kept(self.request.head)
        elif dialect is None and (
            self.request.operation == OPERATION_UNKNOWN or self.request.operation == OPERATION_MODELS
        ):
            dialect = dialect_of_client(self.request.head)
        if dialect is None or dialect == "openai" or self.runtime.translations is None:
            return reply
        identifier = "" if self.request.identifier is None else self.request.identifier.decode()
        return Reply(
            reply.status, reply.fields,
            self.runtime.translations.own_error(dialect, reply.status, reply.content, identifier),
        )

    cdef _end_error(self):
        """End a stream behind an error event. The event says that it is an error, so the framing ends as behind any other
        event; only Gemini's dialect cannot tell an error from an end."""
        if DIALECT_OF.get(self.request.operation) == "gemini":
            self.stream.cut()
        else:
            self.stream.send_end(None)

    cdef bytes _event(self, bytes event):
        """Return an error event of edge's own in the client's dialect."""
        cdef str dialect = <str>DIALECT_OF.get(self.request.operation)
        if dialect is None or dialect == "openai" or self.runtime.translations is None:
            return event
        return self.runtime.translations.own_event(dialect, event)

    cdef bytes _named_event(self, bytes content):
        """Return an error body, which is in the client's dialect, as its last event."""
        cdef bytes event = self.runtime.replies.as_event(content)
        cdef str dialect = <str>DIALECT_OF.get(self.request.operation)
        return b"event: error\n" + event if dialect == "anthropic" else event

    cdef list own_fields(self, list fields, int attempts):
        cdef Request request = self.request
        cdef Caller caller = request.identity.caller
        if self.stream_begun or request.identifier is None:
            return fields
        fields = [
            *fields, (b"x-edge-request-id", request.identifier), self.runtime.region_field,
            (b"x-edge-attempts", decimal(attempts)),
        ]
        if caller is not None and request.route is not None and not request.route.is_service:
            caller.add_rate_limits(fields, monotonic_ns())
        return fields

    cdef list prepare(self, int status, list fields, bytes content):
        """Close the connection after the reply if the request has not come completely."""
        cdef bytes asked = self.request.head.content_type
        self.source = FROM_EDGE if self.source == NO_SOURCE else self.source
        self.sent_bytes += 0 if self.request.grpc else PyBytes_GET_SIZE(content)
        if not self.request.received and self.request.head.length != NO_BODY:
            self.stream.closes_connection = True
        if self.request.grpc and not self.stream_begun:
            # gRPC sends errors as a trailers-only response
            fields = self.runtime.replies.call_fields(status, fields, content)
            if is_grpc(asked) and PyBytes_GET_SIZE(asked) <= LONGEST_TYPE:
                fields[0] = (b"content-type", asked)       # with the message format, which some clients compare
            if status == 502 and self.request.call_code:
                fields = [(name, decimal(self.request.call_code) if name == b"grpc-status" else value) for name, value in fields]
            self.grpc_status = read_status(field_value(fields, b"grpc-status"))
        return fields if self.stream_begun else complete_own(fields, self.request)

    cdef send(self, int status, list fields, bytes content):
        if self.stream_begun and self.source == FROM_CACHE:
            self.stream.send_data(content)
            self.stream.send_end(None)
            self.stream = None
            return
        if self.stream_begun:
            self.stream.send_data(self._named_event(content))
            self._end_error()
            self.stream = None
            return
        if self.request.grpc:
            self.stream.send_head(200, fields, NO_BODY)
        else:
            self.stream.send_head(status, fields, PyBytes_GET_SIZE(content))
            self.stream.send_data(content)
        self.stream.send_end(None)
        self.stream = None

    cdef list from_cache(self, Flight flight, bint stale):
        cdef CacheEntry entry = flight.entry
        cdef list fields = new_list(len(entry.fields) + 3)
        self.source = FROM_CACHE
        self.stale = stale
        for pair in entry.fields:
            add_item(fields, pair)
        add_item(fields, (b"x-edge-target", entry.target))
        add_item(fields, (b"x-edge-cache", flight.word(stale)))
        add_item(fields, (b"age", decimal(entry.age_ns // 1_000_000_000)))
        return fields

    cdef uint64_t next_keepalive(self, bint resuming) except? 0:
        if (self.committed and not resuming) or self.request.grpc or not self.request.streams() or not self.has_comments():
            return NEVER
        return self.last_sent_ns + self.runtime.limits.keepalive_comment_ns

    cdef send_keepalive(self, uint64_t now, int attempts, str reason):
        """Send a comment, which keeps the client's connection alive and commits to no answer.

        The first one sends the head, with what is known so far: how many targets were asked, and why not the first."""
        cdef Caller caller = self.request.identity.caller
        cdef list fields
        if not self.stream_begun and not self.committed:
            self.stream_begun = True
            self.request.answer_begun = True
            fields = [
                (b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache"), NO_BUFFERING,
                (b"x-edge-request-id", self.request.identifier), self.runtime.region_field,
                (b"x-edge-attempts", decimal(attempts)),
            ]
            if reason is not None:
                fields.append((b"x-edge-reason", reason.encode()))
            fields = complete_own(fields, self.request)
            if caller is not None:
                caller.add_rate_limits(fields, now)
            self.stream.send_head(200, fields, UNKNOWN_LENGTH)
        self.stream.send_data(COMMENT)
        self.last_sent_ns = now
        add64(&self.request.route.rec.count[<int>R_KEEPALIVES], 1)

    cdef answer_call(self, list answers):
        if not self.committed:
            self.committed = True
            self.source = FROM_EDGE
            self.stream.send_head(200, complete_own([GRPC_CONTENT], self.request), UNKNOWN_LENGTH)
        for answer in answers:
            self.stream.send_data(frame(answer))

    cdef end_call(self, list trailers):
        if not self.committed:
            self.committed = True
            self.stream.send_head(200, complete_own([GRPC_CONTENT], self.request), UNKNOWN_LENGTH)
        self.stream.send_end(trailers)
        self.stream = None
