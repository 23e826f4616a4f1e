from cpython.bytes cimport PyBytes_GET_SIZE
from native.codec.field_rules cimport field_value
from native.codec.websocket cimport accept_value
from native.proxy.request cimport refusal


cdef bint asks_for_socket(Head head) noexcept:
    """Return whether a request asks for a WebSocket (RFC 6455 4.2.1). The head has an Upgrade field."""
    return head.version == 11 and PyBytes_GET_SIZE(head.upgrade) == 9 and head.upgrade.lower() == b"websocket"


cdef class SocketRequest(Request):
    cdef Refusal prepare(self):
        cdef Head head = self.head
        cdef bytes key = field_value(head.fields, b"sec-websocket-key")
        if head.method != b"GET":
            return refusal("method", head.method.decode("latin-1"), [(b"allow", b"GET")])
        if field_value(head.fields, b"sec-websocket-version") != b"13":
            return refusal("socket_version", "", [(b"sec-websocket-version", b"13")])
        self.accepted = None if key is None else accept_value(key)
        if self.accepted is None:
            return refusal("socket_key")
        self.received = True
        self.stream.upgrade_requested = True
        return None
