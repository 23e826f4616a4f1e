from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t
from native.codec.event_data cimport EventData
from native.codec.field_rules cimport field_value
from native.codec.json_member cimport member_text
from native.proxy.response cimport is_event_stream


cdef class TurnEvents:
    cdef int on_turn_message(self, SocketTurn turn, bytes message) except -1:
        return 0

    cdef int on_turn_pause(self, SocketTurn turn) except -1:
        return 0

    cdef int on_turn_failed(self, SocketTurn turn) except -1:
        return 0

    cdef int on_turn_over(self, SocketTurn turn) except -1:
        return 0


cdef SocketTurn new_turn(TurnEvents owner, ServerStream inner, Runtime runtime, object lane):
    cdef SocketTurn turn = SocketTurn.__new__(SocketTurn)
    turn.owner = owner
    turn.inner = inner
    turn.runtime = runtime
    turn.lane = lane
    turn.scheme = inner.scheme
    turn.policy = inner.policy
    turn.certificate = inner.certificate
    turn.share = inner.share
    return turn


cdef class SocketTurn(ServerStream):
    def __repr__(self):
        return f"<SocketTurn status={self.status} over={self.over}>"

    cdef int send_interim(self, int status) except -1:
        return 0

    cdef int send_head(self, int status, list fields, int64_t length) except -1:
        self.status = status
        self.fields = fields
        if is_event_stream(field_value(fields, b"content-type")):
            self.reader = EventData.__new__(EventData)
        else:
            self.content = []

    cdef int send_data(self, bytes data) except -1:
        cdef list found
        if self.over:
            return 0
        if self.reader is None:
            self.content.append(data)
            self._count(self.size + PyBytes_GET_SIZE(data))
        else:
            found = self.reader.feed(data)
            if not found and PyBytes_GET_SIZE(data) and PyBytes_AS_STRING(data)[0] == c":":
                self.owner.on_turn_pause(self)
            for item in found:
                self._take_event(<bytes>item)
            self._count(self.reader.held)
        if self.size > self.runtime.limits.max_response and not self.over:
            self._fail()

    cdef int _count(self, Py_ssize_t size) except -1:
        self.size = size
        self.counted = self.runtime.acceptor.recount(self.share, self.counted, size)

    cdef int _take_event(self, bytes data) except -1:
        cdef bytes kind
        if self.said_end or not PyBytes_GET_SIZE(data) or PyBytes_AS_STRING(data)[0] != c"{":
            return 0        # the response is over, or it is no event of Responses: [DONE]
        kind = member_text(data, 0, None, b"type")
        if kind is None or kind == b"error":
            return self._say_error(self._ambiguous_error() if self.ambiguous else self.runtime.replies.socket_event(data))
        if kind == b"response.completed" or kind == b"response.incomplete":
            self.said_end = True
            self.response = data
        elif kind == b"response.failed":
            self.said_end = True
        self.owner.on_turn_message(self, data)

    cdef int _say_error(self, bytes message) except -1:
        self.said_end = True
        self.owner.on_turn_message(self, message)

    cdef int _fail(self) except -1:
        """Give up an answer with an event that is longer than limits.max_response."""
        reply = self.runtime.replies.problem("socket_event_too_long", str(self.runtime.limits.max_response))
        if not self.said_end:
            self._say_error(self.runtime.replies.socket_error(reply.status, [], reply.content))
        self.over = True
        self.owner.on_turn_failed(self)

    cdef int send_end(self, list trailers) except -1:
        cdef bytes content
        if self.over:
            return self._end()
        if self.reader is None:
            content = b"" if self.content is None else b"".join(self.content)
            if self.status >= 300 and self.ambiguous:
                self._say_error(self._ambiguous_error())
            elif self.status >= 300:
                self._say_error(self.runtime.replies.socket_error(self.status, self.fields, content))
            else:       # a whole answer, although a stream was asked for
                self._take_event(b'{"type":"response.completed","sequence_number":0,"response":' + content + b"}")
        if not self.said_end:
            self._say_broken()
        return self._end()

    cdef int cut(self) except -1:
        if not self.over and not self.said_end:
            self._say_broken()
        return self._end()

    cdef int _say_broken(self) except -1:
        """Tell an answer that ends without an event that says so."""
        reply = self.runtime.replies.problem("socket_turn_broken", "")
        self._say_error(self.runtime.replies.socket_error(reply.status, [], reply.content))

    cdef bytes _ambiguous_error(self):
        reply = self.runtime.replies.problem("socket_turn_ambiguous", "")
        fields = [] if self.fields is None or self.status < 300 else self.fields
        return self.runtime.replies.socket_error(reply.status, fields, reply.content)

    cdef int _end(self) except -1:
        cdef TurnEvents owner = self.owner
        self.over = True
        self.events = None
        self._count(0)
        self.owner = None
        if owner is not None:
            owner.on_turn_over(self)

    cdef int pause(self) except -1:
        return 0

    cdef int resume(self) except -1:
        return 0

    cdef bint congested(self):
        return self.inner.congested()

    cdef object peer(self):
        return self.inner.peer()
