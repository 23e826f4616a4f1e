from urllib.parse import quote, unquote_to_bytes

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from native.balance.balancer cimport CELL_STREAM, CELL_WHOLE, Target, price_at
from native.codec.body_models cimport with_body_models
from native.codec.content_coding cimport CODINGS, Decoder, new_decoder
from native.codec.form cimport boundary_of, is_form, peek_form, with_model_part
from native.codec.grpc cimport timeout_ns, unframe
from native.codec.field_names cimport NOT_FOR_PROVIDERS, is_clear, known_names, mark_names
from native.codec.field_list cimport add_item, add_items, new_list
from native.codec.field_rules cimport field_value
from native.codec.numbers cimport parse_seconds
from native.codec.json_text cimport escape_json, splice, unescape_json
from native.codec.media cimport PICTURE, SOUND, media_tokens
from native.codec.pieces cimport add_piece
from native.codec.request_peek cimport MODEL_LONGEST, PEEK_LONG_NAME, PEEK_OK, peek_request, with_model, with_usage
from native.io.clock cimport event_time_ns, monotonic_ns, wall_ns
from native.proxy.forwarded cimport NO_CLAIM, claim_of, fields_of_dialect, is_sse, kept_query, versioned_path
from native.codec.trace_context cimport write_traceparent
from native.proxy.issuer cimport FOUND_UNKNOWN, search_everywhere, seek_issuer
from native.proxy.router cimport (
    BATCH_EMBED, CAPABILITY_OF, CONVERSES, DIALECT_OF, FORMS, NAMED_IN_PATH, NAMED_TWICE, NAMELESS, NAMING_IDS,
    NEVER_STREAMED, NO_OUTPUT, OPERATION_CHAT, OPERATION_COMPLETIONS, OPERATION_CONTENT_TOKENS, OPERATION_COUNT_TOKENS,
    OPERATION_EMBED, OPERATION_EMBEDDINGS, OPERATION_IMAGE_EDIT, OPERATION_NAMES, OF_RESPONSES, OPERATION_RESPONSES,
    OPERATION_STREAM, SPOKEN, SUFFIXES, UNTRANSLATED, Route, deployment_of_path, model_of_path,
)
from native.proxy.needs cimport hides_letters, may_act_at_provider, needs_of
from native.proxy.requirements cimport require, require_one
from native.proxy.request cimport CHAT_STREAM, NO_TRACEPARENT, PLAIN, SMALL_BODY, Identity, refusal, refuse_bound
from native.proxy.runtime cimport NEVER, Runtime
from native.state.allowance cimport longest_output, usual_output
from native.state.callers cimport Caller
from native.state.issued_ids cimport Issued

# No answer has this many tokens; sums of larger numbers could overflow.
cdef int64_t MOST_TOKENS = 1_000_000_000
# Fields of a client that no provider gets, besides those of proxies and edge's own (claim_of). The target's own
# credentials are added last.
WITHHELD = frozenset((
    b"authorization", b"x-api-key", b"x-goog-api-key", b"api-key", b"cookie", b"via", b"accept-encoding", b"baggage",
    b"tracestate", b"traceparent", b"origin", b"referer", b"openai-organization", b"openai-project",
    b"x-request-timeout", b"content-encoding", b"trailer",
))
# A clear name needs no second look.
mark_names(WITHHELD, NOT_FOR_PROVIDERS)
mark_names([name for name in known_names() if claim_of(name) != NO_CLAIM], NOT_FOR_PROVIDERS)
# What a refusal calls an operation that no other dialect is asked.
cdef dict UNTRANSLATED_AS = {
    <int>OPERATION_COUNT_TOKENS: "count_tokens", <int>OPERATION_CONTENT_TOKENS: "countTokens",
}
# A longer body is dropped once its answer has begun, so that nobody can go on with that answer.
cdef Py_ssize_t LONGEST_RESCUED = 1024 * 1024


cdef bint allowed(Caller caller, bytes name, Route route):
    """Return whether a caller may use a model: by its name, or by that of the pattern which the name fits."""
    return caller.may_use(name) or (route is not None and route.is_pattern and caller.may_use(route.name.encode()))


cdef bint may_name_objects(bytes content):
    return (
        b'"file_id"' in content or b'"file_ids"' in content or b'"vector_store_ids"' in content
        or b'"fileUri"' in content or b'"file_uri"' in content
        or b'"cachedContent"' in content or b'"cached_content"' in content
    )


cdef class ModelRequest(Request):
    """A request to a model. Its body is collected, scanned without building objects, and sent to one target or more."""

    cdef bint is_model(self) noexcept:
        return True

    cdef bint is_collected(self) noexcept:
        return True

    cdef Refusal take_data(self, bytes data):
        if self.body_size > self.runtime.limits.body:
            self.body = None
            return refusal("body_too_large", str(self.runtime.limits.body))
        if self.bound and self.body_size > SMALL_BODY:
            return refuse_bound(self)
        if not self.hold(self.body_size):
            return refusal("buffers_full")
        add_piece(self.body, data)
        return None

    cdef Refusal take_end(self, list trailers):
        """Read the model and the options from the body, and find the route."""
        cdef Runtime runtime = self.runtime
        cdef Caller caller = self.identity.caller
        cdef Refusal why
        cdef bytes name
        cdef tuple pair
        cdef bint bounds = False
        self.request_complete_ns = event_time_ns()
        self.content = <bytes>self.body[0] if len(self.body) == 1 else b"".join(self.body)
        self.body = None
        cdef bint in_path = self.names_in_path()
        self.dialect = "embeddings" if self.operation == OPERATION_EMBEDDINGS else <str>DIALECT_OF.get(self.operation)
        self.suffix = <bytes>SUFFIXES[self.operation]
        if not in_path and PyBytes_GET_SIZE(self.head.target) > PyBytes_GET_SIZE(self.head.path):
            self.suffix += kept_query(self.head.target[PyBytes_GET_SIZE(self.head.path) + 1:])
        if self.response_format != PLAIN:
            why = self.read_call()
            if why is not None:
                return why
            if not self.hold(PyBytes_GET_SIZE(self.content)):
                return refusal("buffers_full")
        elif self.head.content_encoding is not None and self.head.content_encoding != b"identity":
            why = self.decode()
            if why is not None:
                return why
        why = self.peek_body()
        if why is None and PyBytes_AS_STRING(self.head.path)[1] == c"o" and deployment_of_path(self.head.path):
            why = self.name_deployment()
        if why is not None:
            return why
        if in_path:
            if self.operation == OPERATION_STREAM and not is_sse(self.head.target):
                return refusal("stream_form")
            if self.operation == OPERATION_EMBED:
                self.dialect = "embedContent"
                if self.head.path.rstrip(b"/").endswith(BATCH_EMBED):
                    self.suffix = BATCH_EMBED
            name = self.name_in_path()
            self.peek.stream = self.operation == OPERATION_STREAM
        else:
            if self.peek.model_start < 0:
                why = self.name_only_model()
                if why is not None:
                    return why
            name = runtime.router.name_at(
                PyBytes_AS_STRING(self.content) + self.peek.model_start, self.peek.model_end - self.peek.model_start
            )
            if self.peek.model_escaped:
                name = unescape_json(name)
        if name is not None and PyBytes_GET_SIZE(name) > <int>MODEL_LONGEST:
            return refusal("model_too_long", str(<int>MODEL_LONGEST))
        self.route = None if name is None else runtime.router.model(name)
        if caller is not None and not caller.everything and (name is None or not allowed(caller, name, self.route)):
            # checked first, so that the caller does not learn whether the model exists
            return refusal("model_not_allowed", "?" if name is None else name.decode("utf-8", "replace"))
        if self.route is None:
            return refusal("unknown_model", "?" if name is None else name.decode("utf-8", "replace"))
        self.wildcard = runtime.router.wildcard_model(name, self.route)
        if <int>NEVER_STREAMED >> self.operation & 1:
            self.peek.stream = 0
        # OpenAI stores Responses unless the caller forbids it; other answers are stored on request only.
        self.stored = self.peek.background == 1 or (
            self.peek.store != 0 if self.operation == OPERATION_RESPONSES else self.peek.store == 1
        )
        self.latency_cell = CELL_STREAM if self.peek.stream == 1 else CELL_WHOLE
        if runtime.issued is not None and <int>NAMING_IDS >> self.operation & 1:
            self.remembers = self.stored and self.operation == OPERATION_RESPONSES
            why = self.seek()
            if why is not None:
                return why
        why = require(self)
        if why is None:
            why = require_one(self)
        if why is not None:
            return why
        if self.response_format != PLAIN:
            self.fields = [(b"content-type", b"application/json")]
        elif self.head.memo is not None and self.head.memo.provided is not None:
            self.fields = self.head.memo.provided
        else:
            self.fields = new_list(len(self.head.fields) + 1)
            for item in self.head.fields:
                pair = <tuple>item
                if is_clear(<bytes>pair[0], NOT_FOR_PROVIDERS):
                    add_item(self.fields, pair)
                elif pair[0] not in WITHHELD:
                    if claim_of(<bytes>pair[0]) == NO_CLAIM:
                        add_item(self.fields, pair)
                elif PyBytes_GET_SIZE(<bytes>pair[0]) == 17 and pair[0] == b"x-request-timeout":
                    why = self.bind(parse_seconds(<bytes>pair[1]), "request_timeout", <bytes>pair[1])
                    if why is not None:
                        return why
                    bounds = True
            if self.head.memo is not None and not bounds:
                add_item(self.fields, NO_TRACEPARENT)
                self.head.memo.provided = self.fields
        self.text_size = PyBytes_GET_SIZE(self.content) - self.media.size
        self.prompt_guess = self.text_size // 4
        self.needs = needs_of(self.operation, &self.peek, &self.media, self.text_size)
        if runtime.router.metered:
            self.estimate()
            if caller is not None and caller.budget_nano:
                why = self.check_prices()
                if why is not None:
                    return why
            self.wants_usage = caller is not None and caller.metered and self.peek.stream and not (
                self.peek.include_usage
            ) and (self.operation == OPERATION_CHAT or self.operation == OPERATION_COMPLETIONS)
        return None

    cdef Refusal seek(self):
        """Read the ids in the body. Only who issued them is asked; a conversation that nobody remembers is sought."""
        cdef list ids
        cdef Issued issued
        cdef Refusal why
        cdef int found = 0
        cdef bytes content = self.content
        cdef bint objects = self.runtime.issued.knows_objects()
        cdef bint turns = <int>OF_RESPONSES >> self.operation & 1
        if not turns and not objects:
            return None
        ids = []
        # Escapes of letters can hide a name or an id, and a member that comes twice is read by each provider as it likes.
        cdef bint parses = (objects or turns) and hides_letters(content)
        if turns:
            if self.peek.previous_start >= 0:
                ids.append(content[self.peek.previous_start:self.peek.previous_end])
                parses = parses or b"\\" in <bytes>ids[0] or content.count(b'"previous_response_id"') > 1
            if self.peek.conversation_start >= 0:
                if content[self.peek.conversation_start] == c'"':
                    ids.append(content[self.peek.conversation_start + 1:self.peek.conversation_end - 1])
                    parses = parses or b"\\" in <bytes>ids[len(ids) - 1] or content.count(b'"conversation"') > 1
                elif content[self.peek.conversation_start] == c"{":
                    parses = True
        if parses or (objects and may_name_objects(content)):
            try:
                named = self.runtime.kept.named(content)
            except ValueError as error:
                return refusal("malformed_json", str(error))
            ids = named if parses else ids + [name for name in named if name not in ids]
        if not ids:
            return None
        self.names_ids = True
        why = seek_issuer(self, ids, &found, &issued)
        if found == FOUND_UNKNOWN and turns and (self.peek.previous_start >= 0 or self.peek.conversation_start >= 0):
            search_everywhere(self, <bytes>ids[0])
        return why

    cdef Refusal check_prices(self):
        cdef Target target
        cdef int i
        for i in range(self.route.pool.size):
            if not price_at(self.route.pool, i, self.wildcard).known and not self.route.regions >> i & 1:
                target = self.route.pool.target_at(i)
                return refusal("model_unpriced", self.route.name if self.wildcard is None else (
                    f"{target.plan.provider}/{self.wildcard.decode('utf-8', 'replace')}"
                ))
        return None

    cdef void estimate(self) noexcept:
        cdef uint64_t usual, most = 0
        cdef int i
        if self.route.pool.size:        # its targets may not be discovered yet
            self.prompt_guess = self.prompt_by(self.route.pool.target_at(0).media_rule)
        if <int>NO_OUTPUT >> self.operation & 1:
            self.usual_known = True
            return
        usual = usual_output(self.route.rec, &self.usual_known)
        for i in range(self.route.pool.size):
            most = max(most, self.output_most(price_at(self.route.pool, i, self.wildcard)))
        self.output_guess = min(usual * <uint64_t>self.peek.choices, most)
        self.output_worst = most
        if self.usual_known and self.peek.max_tokens < 0:
            # a bucket that is overdrawn fills again, so what no recent answer needed is not kept free for one
            self.output_worst = max(
                min(most, longest_output(self.route.rec) * <uint64_t>self.peek.choices), self.output_guess
            )

    cdef uint64_t prompt_by(self, int rule) noexcept:
        return self.text_size // 4 + media_tokens(&self.media, rule)

    cdef uint64_t output_most(self, Price price) noexcept:
        cdef int64_t each = price.max_output if self.peek.max_tokens < 0 else min(self.peek.max_tokens, MOST_TOKENS)
        return 0 if <int>NO_OUTPUT >> self.operation & 1 else <uint64_t>(each * self.peek.choices)

    cdef Refusal peek_body(self):
        """Read the options of the body."""
        cdef const char* content = PyBytes_AS_STRING(self.content)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(self.content)
        cdef int error
        if <int>FORMS >> self.operation & 1 and (self.operation != OPERATION_IMAGE_EDIT or is_form(self.head.content_type)):
            self.boundary = boundary_of(self.head.content_type)
            if self.boundary is None:
                return refusal("form_expected")
            error = peek_form(
                content, size, self.boundary, SOUND if <int>SPOKEN >> self.operation & 1 else PICTURE, &self.peek, &self.media
            )
        else:
            error = peek_request(
                content, size, &self.peek, &self.media,
                &self.turns if self.runtime.router.affine and <int>CONVERSES >> self.operation & 1 else NULL,
            )
        if error == PEEK_OK:
            return None
        if error == PEEK_LONG_NAME:
            return refusal("model_too_long", str(<int>MODEL_LONGEST))
        return refusal(
            "malformed_json" if self.boundary is None else "malformed_form", f"{error}:{self.peek.error_at}"
        )

    cdef bint names_in_path(self) noexcept:
        return <int>NAMED_IN_PATH >> self.operation & 1

    cdef Refusal name_only_model(self):
        """Write the model into a body that names none, if only one can be meant."""
        cdef Caller caller = self.identity.caller
        cdef Route route = self.runtime.router.only.get(self.operation)
        if route is None or not (caller is None or caller.everything or caller.may_use(route.name.encode())):
            if self.operation not in NAMELESS:
                return refusal("model_missing")
            return refusal("model_not_told", CAPABILITY_OF[self.operation])
        if self.boundary is None:
            self.content = with_model(self.content, escape_json(route.name.encode()), &self.peek)
        else:
            self.content = with_model_part(self.content, self.boundary, route.name.encode(), &self.peek)
        return None if self.hold(PyBytes_GET_SIZE(self.content)) else refusal("buffers_full")

    cdef Refusal name_deployment(self):
        """Write the deployment that Azure's path names into the body, as the model."""
        cdef bytes name = unquote_to_bytes(deployment_of_path(self.head.path))
        if self.boundary is None:
            name = escape_json(name)
        if self.peek.model_start >= 0:
            self.content = splice(self.content, self.peek.model_start, self.peek.model_end, name)
        elif self.boundary is None:
            self.content = with_model(self.content, name, &self.peek)
        else:
            self.content = with_model_part(self.content, self.boundary, name, &self.peek)
        return self.peek_body() if self.hold(PyBytes_GET_SIZE(self.content)) else refusal("buffers_full")

    cdef bytes name_in_path(self):
        return unquote_to_bytes(model_of_path(self.head.path))

    cdef Refusal read_call(self):
        """Turn the one message of a call of edge.v1.Inference into the JSON body that providers know."""
        cdef Runtime runtime = self.runtime
        cdef Refusal why
        cdef list messages = []
        cdef bytes timeout = field_value(self.head.fields, b"grpc-timeout")
        cdef Py_ssize_t used = unframe(self.content, 0, runtime.limits.body, messages)
        self.suffix = b"/chat/completions"
        if timeout is not None:
            why = self.bind(timeout_ns(timeout), "grpc_timeout", timeout)
            if why is not None:
                return why
        if used == -1:
            return refusal("compressed_call")
        if len(messages) != 1 or used != PyBytes_GET_SIZE(self.content):
            return refusal("one_message", str(len(messages)))
        try:
            self.content = runtime.calls.read(messages[0], self.response_format == CHAT_STREAM)
        except ValueError as error:
            return refusal("bad_message", str(error))
        return None

    cdef bint streams(self) noexcept:
        return self.peek.stream == 1

    cdef bint may_join(self) noexcept:
        return not self.stored

    cdef bint may_hedge(self) noexcept:
        # Ids count whether edge remembers them or not: another provider would refuse what names a file of the first.
        if self.stored or self.names_ids or self.searching or self.content is None:
            return False
        if self.operation != OPERATION_CHAT and (self.peek.previous_start >= 0 or self.peek.conversation_start >= 0):
            return False
        return not (
            b'"file_id"' in self.content or b'"file_ids"' in self.content or b'"vector_store_ids"' in self.content
            or b'"cachedContent"' in self.content
            or b'"fileUri"' in self.content or b'"file_uri"' in self.content
            or may_act_at_provider(self.content)
        )

    cdef bint may_resend(self, bint sent, bint refused) noexcept:
        return True

    cdef bytes body_for(self, ConnectionPool upstream):
        """Return the body for a target: that of the client, with the target's name of the model."""
        cdef bytes model
        cdef bytes content = self.content
        cdef Py_ssize_t start = self.peek.model_start
        if self.names_in_path():
            # the path names the model; some bodies repeat it, and a provider refuses what differs
            if <int>NAMED_TWICE >> self.operation & 1:
                return with_body_models(content, self.target_model(upstream))
            return content
        model = self.target_model(upstream)
        if self.boundary is None:
            model = escape_json(model)
        if self.with_usage:
            content = with_usage(content, &self.peek)
            if self.peek.options_start < start:     # absent: it was put first
                start += PyBytes_GET_SIZE(content) - PyBytes_GET_SIZE(self.content)
        return splice(content, start, start + self.peek.model_end - self.peek.model_start, model)

    cdef Refusal decode(self):
        """Decode the body, which the client has compressed, within the limits of a body that came as it is."""
        cdef Decoder decoder = new_decoder(self.head.content_encoding)
        cdef bytes plain
        if decoder is None:
            return refusal("body_coding", CODINGS.decode(), [(b"accept-encoding", CODINGS)])
        plain = decoder.feed(self.content, self.runtime.limits.body)
        if plain is None and decoder.given > self.runtime.limits.body:
            return refusal("body_too_large", str(self.runtime.limits.body))
        if plain is None or not decoder.is_complete():
            return refusal("body_broken", self.head.content_encoding.decode("latin-1"))
        self.content = plain
        if not self.hold(PyBytes_GET_SIZE(plain)):
            return refusal("buffers_full")
        return None

    cdef bytes model_as_written(self):
        if self.names_in_path():
            return model_of_path(self.head.path)
        return self.content[self.peek.model_start:self.peek.model_end]

    cdef bint send(self, ClientStream stream, ConnectionPool upstream, uint64_t span, uint64_t now):
        cdef tuple written = self.written_for(upstream)
        cdef list fields = self.fields_for(upstream)
        cdef bytes body
        cdef bytes path = self.suffix
        fields[self.trace_at] = (b"traceparent", write_traceparent(&self.trace, span))
        if upstream.is_region:
            self.send_to_region(stream, upstream, fields, now)
            return True
        if written is not None or upstream.dialect == "anthropic":
            fields = fields_of_dialect(fields, upstream.dialect, written is not None and upstream.dialect != self.dialect)
        add_items(fields, upstream.fields)
        if written is not None:
            path = <bytes>written[0]
            body = <bytes>written[1]
        else:
            body = self.body_for(upstream)
            if self.names_in_path():
                path = self.model_path(self.target_model(upstream))
        if upstream.api_version is not None:
            path = versioned_path(path, self.target_model(upstream), upstream.api_version)
        path = upstream.base_path + path
        if upstream.signer is not None:
            fields = upstream.signer.sign(b"POST", path, upstream.authority, fields, body, wall_ns() // 1_000_000_000)
        stream.send_request(b"POST", path, upstream.authority, fields, PyBytes_GET_SIZE(body))
        stream.send_data(body)
        return True

    cdef bytes target_model(self, ConnectionPool upstream):
        """Return the target's name of the model."""
        return upstream.model if upstream.model or self.wildcard is None else self.wildcard

    cdef bytes model_path(self, bytes model):
        """Return Gemini's path of a model, behind the provider's base path."""
        return b"/models/" + quote(model, safe="").encode() + self.suffix

    cdef bint is_foreign(self, int index) noexcept:
        return self.continuation is not None or self.route.foreign[self.operation] >> index & 1

    cdef bint may_be_rescued(self, int index) noexcept:
        if self.continuation is not None:
            return True
        return (
            self.route.rescuers[index] != 0 and self.peek.stream == 1 and self.peek.choices == 1
            and not self.peek.structured and self.runtime.translations is not None
            and (self.dialect is not None or self.operation == OPERATION_COMPLETIONS)
            # What a provider stores would be half of what the client has, unless edge has translated it: then nothing is.
            and (not self.stored or (self.operation == OPERATION_RESPONSES and self.is_foreign(index)))
            and PyBytes_GET_SIZE(self.content) <= LONGEST_RESCUED
        )

    cdef tuple written_for(self, ConnectionPool upstream):
        return None if self.written is None else self.written.get(upstream.name)

    cdef Refusal translate_for(self, int index):
        cdef Refusal why
        cdef ConnectionPool upstream = self.route.pool.target_at(index).pool
        cdef object translations = self.runtime.translations
        cdef str operation
        if self.written is not None and upstream.name in self.written:
            return None
        if translations is None or (self.dialect is None and self.continuation is None) or (
            <int>UNTRANSLATED >> self.operation & 1
        ):
            operation = UNTRANSLATED_AS.get(self.operation) or OPERATION_NAMES[self.operation]
            return refusal("cannot_carry", f"{operation} cannot be asked in the dialect {upstream.dialect}")
        try:
            written = self.write_for(upstream, index)
        except ValueError as error:
            if self.conversation is None and self.continuation is None:
                return refusal("bad_message", str(error))
            why = refusal("cannot_carry", str(error))
            why.noted = getattr(error, "noted", f"the request cannot be said in the dialect {upstream.dialect}")
            return why
        if not self.hold(self.holding + PyBytes_GET_SIZE(<bytes>written[1])):
            return refusal("buffers_full", "1")
        if self.written is None:
            self.written = {}
        self.written[upstream.name] = written
        return None

    cdef tuple write_for(self, ConnectionPool upstream, int index):
        cdef str name = self.target_model(upstream).decode("utf-8", "replace")
        cdef Target target = self.route.pool.target_at(index)
        if self.continuation is not None:
            return tuple(self.continuation.body_for(
                upstream.dialect, name, target.plan.prefill, self.route.strict,
                self.wants_usage and target.may_ask_usage(self.wildcard, monotonic_ns()),
            ))
        if self.conversation is None:
            self.conversation = self.runtime.translations.read(
                self.dialect, self.content, self.asked_name(), self.peek.stream == 1
            )
        return tuple(self.conversation.body_for(upstream.dialect, name, self.route.strict))

    cdef str asked_name(self):
        """Return the name of the model as the client wrote it."""
        if self.names_in_path():
            return self.name_in_path().decode("utf-8", "replace")
        name = self.content[self.peek.model_start:self.peek.model_end]
        return (unescape_json(name) if self.peek.model_escaped else name).decode("utf-8", "replace")

    cdef send_to_region(self, ClientStream stream, ConnectionPool upstream, list fields, uint64_t now):
        """Send the client's body to another region's edge, with hops, deadline, caller and trace."""
        cdef bytes region = self.runtime.region
        cdef bytes content = with_usage(self.content, &self.peek) if self.with_usage else self.content
        cdef Identity who = self.identity
        cdef uint64_t left
        fields = [pair for pair in fields if pair[0] != b"x-request-timeout"]
        fields.append((b"x-edge-hops", region if who.hops is None else who.hops + b"," + region))
        if self.deadline_ns != NEVER:
            left = max((self.deadline_ns - now) // 1_000_000, <uint64_t>1) if self.deadline_ns > now else 1
            fields.append((b"x-request-timeout", b"%d.%03d" % (left // 1000, left % 1000)))
        if who.name is not None:
            fields.append((b"x-edge-key-name", who.name))
        if who.priority_name is not None:
            fields.append((b"x-edge-priority", who.priority_name))
        if self.trace.parent:
            # the caller's trace is continued, and the other region is trusted with its tracestate and baggage
            fields.extend([pair for pair in self.head.fields if pair[0] == b"tracestate" or pair[0] == b"baggage"])
        fields.extend(upstream.fields)
        path = self.suffix
        if self.names_in_path():
            path = self.model_path(self.name_in_path())
        stream.send_request(
            b"POST", upstream.base_path + path, upstream.authority, fields, PyBytes_GET_SIZE(content)
        )
        stream.send_data(content)

    cdef release(self):
        self.content = None
        self.body = None
        self.hold(0)
        if self.begun:
            self.begun = False
            self.identity.caller.abandon(self.runtime.worker, monotonic_ns())


cdef class PeerRequest(ModelRequest):
    """A model's request from another region's edge, which queues it, joins late attempts and charges the caller."""

    cdef bint may_join(self) noexcept:
        return False

    cdef bint may_hedge(self) noexcept:
        return False
