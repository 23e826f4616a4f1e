from cpython.bytes cimport PyBytes_GET_SIZE
from native.codec.head cimport NO_BODY, UNKNOWN_LENGTH
from native.codec.numbers cimport decimal
from native.codec.request_head cimport take_request

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpRequestParser

from native.codec.head_reader import RefusedError

# A request target longer than this is refused with 414 (RFC 9112 3 asks for at least 8000).
cdef Py_ssize_t TARGET_LIMIT = 16384
# Chunk framing and extensions may cost this much beyond a tenth of the body and an allowance for each chunk (its size in
# hex digits, two line ends). More is an attack.
cdef Py_ssize_t OVERHEAD_LIMIT = 65536
cdef Py_ssize_t CHUNK_OVERHEAD = 16


cdef class RequestEvents:
    cdef void on_head_begin(self):
        return

    cdef bint on_head(self, Head head):
        return False

    cdef bint on_body(self, bytes data):
        return False

    cdef void on_complete(self):
        return

    cdef bint on_upgrade(self, bytes rest):
        return False


cdef class RequestParser:
    """The parser of one connection.

    Args:
        events: receives the parts of each request.
        header_bytes, header_count: bounds on one head.
    """

    def __init__(self, RequestEvents events, Py_ssize_t header_bytes, int header_count):
        self.events = events
        self.reader = HeadReader(header_bytes, header_count)
        self.parser = HttpRequestParser(self)

    cdef void close(self):
        self.stopped = True
        self.parser = None      # it holds this object
        self.events = None

    cdef void stop(self):
        self.stopped = True

    cdef int refuse(self, int status, str reason):
        if self.fault is None:
            self.fault = reason
            self.fault_status = status
        self.stopped = True
        return -1

    cdef void feed(self, bytes data):
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        if self.stopped:
            return
        if self.in_body:
            self.overhead += size
        else:
            self.head_bytes += size
        try:
            while data is not None:
                data = self._feed(data)
        except HttpParserCallbackError as error:
            if not self.stopped:
                raise error.__context__ if error.__context__ is not None else error
        except HttpParserError as error:
            if not self.stopped:
                self.refuse(400, f"the request is not HTTP/1.1: {error}")
        if self.in_head and self.head_bytes > self.reader.size_limit + TARGET_LIMIT:
            self.refuse(431, f"header fields larger than {self.reader.size_limit} bytes")
        elif self.overhead > OVERHEAD_LIMIT:
            self.refuse(400, "chunk framing outweighs the body")

    cdef bytes _feed(self, bytes data):
        """Parse; return what is left behind a request that asks for an upgrade.

        Only a service may take an upgrade, and then what follows waits for its answer. Elsewhere the field is ignored
        (RFC 9110 7.8), and what follows is the request's body, which httptools never reads there, or the next request."""
        cdef bytes rest
        try:
            self.parser.feed_data(data)
            return None
        except HttpParserUpgrade as upgrade:
            rest = data[upgrade.args[0]:]
        if self.reframed is not None and not self.stopped:
            # A parser that has read a head with this framing, and no Upgrade, reads the body and what comes behind it.
            self.url = b""
            self.parser = HttpRequestParser(self)
            self.parser.feed_data(self.reframed)
        elif self.in_body:
            self.on_message_complete()
        if self.events is None or self.events.on_upgrade(rest):
            return None
        return rest if rest and not self.stopped else None

    # --- httptools callbacks -----------------------------------------------------------------------------------------
    def on_message_begin(self):
        if self.reframed is not None:
            return
        self.in_head = True
        self.url = b""
        self.events.on_head_begin()

    def on_url(self, bytes part):
        self.url = part if not self.url else self.url + part
        if PyBytes_GET_SIZE(self.url) > TARGET_LIMIT:
            self.refuse(414, f"the request target is longer than {TARGET_LIMIT} bytes")
            raise RefusedError

    def on_header(self, bytes name, bytes value):
        if not self.in_head:
            return      # a trailer field: none is merged into the head, none is forwarded (RFC 9110 6.5.1)
        if self.reader.add(name, value) < 0:
            self.refuse(self.reader.fault_status, self.reader.fault)
            raise RefusedError

    def on_headers_complete(self):
        cdef Head head
        if self.reframed is not None:
            self.reframed = None    # the body follows
            return
        if self.stopped:
            raise RefusedError
        head = take_request(self.reader, self.parser.get_method(), self.url, self.reader.version(self.parser))
        if head is None:
            self.refuse(self.reader.fault_status, self.reader.fault)
            raise RefusedError
        if head.upgrades and head.length != NO_BODY:
            # A server may ignore the field (RFC 9110 7.8): a body and a tunnel are never taken together.
            head.upgrade = None
            if self.parser.should_upgrade():
                self.reframed = (
                    b"POST / HTTP/1.1\r\n"
                    + (b"" if head.keep_alive else b"connection: close\r\n")
                    + (
                        b"transfer-encoding: chunked\r\n\r\n" if head.length == UNKNOWN_LENGTH
                        else b"content-length: " + decimal(head.length) + b"\r\n\r\n"
                    )
                )
        self.in_head = False
        self.in_body = True
        self.head_bytes = 0
        self.overhead = 0
        if not self.events.on_head(head):
            self.in_body = False
            raise RefusedError

    def on_body(self, bytes data):
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        # what is left of overhead is framing; each chunk comes here at least once
        self.overhead -= size + size // 10 + CHUNK_OVERHEAD
        if not self.events.on_body(data):
            raise RefusedError

    def on_message_complete(self):
        if self.reframed is not None:
            return      # of a head whose body httptools has skipped
        self.in_body = False
        self.overhead = 0       # not counted: what this read brought of the next request is in it
        self.head_bytes = 0
        self.events.on_complete()
