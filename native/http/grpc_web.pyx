from native.codec.field_rules cimport field_value
from native.codec.grpc cimport is_grpc
from native.codec.grpc_web cimport NOT_WEB, WEB_TEXT, TextReader, message_format, to_text, trailer_frame, web_kind
from native.codec.head cimport NO_BODY, UNKNOWN_LENGTH

# What an answer without messages says in its head, and gRPC-Web in the body.
cdef frozenset STATUS_FIELDS = frozenset((b"grpc-status", b"grpc-message", b"grpc-status-details-bin"))
# Said to edge, not to the service.
cdef frozenset WEB_FIELDS = frozenset((b"accept", b"x-grpc-web"))
# An answer whose service has named no status (PROTOCOL-HTTP2, Responses).
cdef tuple UNKNOWN_STATUS = (b"grpc-status", b"2")


cdef Head call_head(Head head, bytes form, bint text):
    """Return the head of the gRPC call that a request of gRPC-Web means. Field pairs that stay are the same objects."""
    cdef Head call = Head.__new__(Head)
    call.method = head.method
    call.target = head.target
    call.path = head.path
    call.authority = head.authority
    call.host = head.host
    call.length = UNKNOWN_LENGTH if text and head.length != NO_BODY else head.length
    call.version = 20
    call.keep_alive = True
    call.content_type = b"application/grpc" + form
    call.content_encoding = head.content_encoding
    call.fields = [(b"content-type", call.content_type)]
    for pair in head.fields:
        if pair[0] != b"content-type" and pair[0] not in WEB_FIELDS:
            call.fields.append(pair)
    return call


cdef GrpcWebStream translate_web(ServerStream inner, Head head, int kind, ServerEvents exchange):
    cdef GrpcWebStream stream = GrpcWebStream.__new__(GrpcWebStream)
    cdef GrpcWebEvents events = GrpcWebEvents.__new__(GrpcWebEvents)
    cdef bytes accepted = field_value(head.fields, b"accept")
    cdef int wanted = NOT_WEB if accepted is None else web_kind(accepted)
    events.stream = stream
    events.exchange = exchange
    inner.events = events
    stream.inner = inner
    stream.events = exchange
    stream.scheme = inner.scheme
    stream.policy = inner.policy
    stream.certificate = inner.certificate
    stream.share = inner.share
    stream.format = message_format(head.content_type)
    stream.answers_text = (kind if wanted == NOT_WEB else wanted) == WEB_TEXT
    stream.text = TextReader.__new__(TextReader) if kind == WEB_TEXT else None
    stream.head = call_head(head, stream.format, kind == WEB_TEXT)
    return stream


cdef class GrpcWebStream(ServerStream):
    def __repr__(self):
        return f"<GrpcWebStream {self.inner!r} text={self.answers_text}>"

    cdef int admitted(self) except -1:
        self.share_state()
        self.inner.reached_upstream = True      # a client that resets its calls at once is judged as if it had cost one
        if self.inner.awaits_continue:
            self.inner.send_interim(100)

    cdef int share_state(self) noexcept:
        self.inner.share = self.share
        self.inner.is_call = self.is_call
        self.inner.uploaded = self.uploaded
        self.inner.body_buffered = self.body_buffered
        return 0

    cdef int send_interim(self, int status) except -1:
        self.inner.send_interim(status)

    cdef int send_head(self, int status, list fields, int64_t length) except -1:
        cdef bytes kind = field_value(fields, b"content-type")
        cdef list sent = []
        cdef bytes name
        self.head_sent = True
        self.inner.closes_connection = self.inner.closes_connection or self.closes_connection
        if not is_grpc(kind):
            self.is_other = True
            self.inner.send_head(status, fields, length)
            return 0
        self.status_fields = []
        for pair in fields:
            name = <bytes>(<tuple>pair)[0]
            if name == b"content-type":
                sent.append((name, (b"application/grpc-web-text" if self.answers_text else b"application/grpc-web") + (
                    message_format(kind) or self.format
                )))
            elif length == NO_BODY and name in STATUS_FIELDS:
                self.status_fields.append(pair)
            else:
                sent.append(pair)
        self.inner.send_head(status, sent, UNKNOWN_LENGTH)

    cdef int send_data(self, bytes data) except -1:
        self._send(data)

    cdef int _send(self, bytes data) except -1:
        self.inner.send_data(to_text(data) if self.answers_text and not self.is_other else data)

    cdef int send_end(self, list trailers) except -1:
        if self.is_other:
            self.inner.send_end(trailers)
            return 0
        if trailers is None:
            trailers = self.status_fields
        if field_value(trailers, b"grpc-status") is None:
            trailers = [UNKNOWN_STATUS, *trailers]
        self._send(trailer_frame(trailers))
        self.inner.send_end(None)

    cdef int refuse(self, str reason) except -1:
        """End a call whose request cannot be read: INVALID_ARGUMENT."""
        if not self.head_sent:
            self.inner.closes_connection = True
            self.send_head(200, [(b"content-type", b"application/grpc")], NO_BODY)
        self.send_end([(b"grpc-status", b"3"), (b"grpc-message", reason.encode())])

    cdef int cut(self) except -1:
        self.inner.cut()

    cdef int pause(self) except -1:
        self.inner.pause()

    cdef int resume(self) except -1:
        self.inner.resume()

    cdef bint congested(self):
        return self.inner.congested()

    cdef object peer(self):
        return self.inner.peer()


cdef class GrpcWebEvents(ServerEvents):
    def __repr__(self):
        return f"<GrpcWebEvents of {self.exchange!r}>"

    cdef int on_request_data(self, bytes data) except -1:
        if self.stream.text is not None:
            data = self.stream.text.push(data)
            if self.stream.text.failed:
                self.reject()
                return 0
        if data and self.exchange is not None:
            self.exchange.on_request_data(data)
            self.stream.share_state()

    cdef int on_request_end(self, list trailers) except -1:
        if self.stream.text is not None and not self.stream.text.is_whole():
            self.reject()
        elif self.exchange is not None:
            self.exchange.on_request_end(trailers)
            self.stream.share_state()

    cdef int reject(self) except -1:
        """Cancel the exchange, because the request is not what it says it is."""
        cdef ServerEvents exchange = self.exchange
        self.exchange = None
        if exchange is None:
            return 0
        exchange.on_client_gone()
        self.stream.refuse("the body is not base64, as its content-type says")

    cdef int on_client_gone(self) except -1:
        cdef ServerEvents exchange = self.exchange
        self.exchange = None
        if exchange is not None:
            exchange.on_client_gone()

    cdef int on_client_congested(self) except -1:
        if self.exchange is not None:
            self.exchange.on_client_congested()

    cdef int on_client_drained(self) except -1:
        if self.exchange is not None:
            self.exchange.on_client_drained()
