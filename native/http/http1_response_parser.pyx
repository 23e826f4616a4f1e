from cpython.bytes cimport PyBytes_GET_SIZE
from native.codec.response_head cimport take_response

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpResponseParser

from native.codec.head_reader import RefusedError

# Beyond the bound on its fields, a head (or trailers) may have this many bytes before it is refused as endless.
cdef Py_ssize_t HEAD_SLACK = 16384
# Interim responses before the final one: more than this is no progress.
cdef int INTERIM_LIMIT = 16


cdef class ResponseEvents:
    cdef bint awaits_response(self):
        return False

    cdef void on_interim_head(self, int status):
        return

    cdef void on_response_head(self, Head head):
        return

    cdef void on_body_data(self, bytes data):
        return

    cdef void on_complete(self):
        return


cdef class ResponseParser:
    """The parser of one connection.

    Args:
        events: receives the parts of each response.
        header_bytes, header_count: bounds on one head.
    """

    def __init__(self, ResponseEvents events, Py_ssize_t header_bytes, int header_count):
        self.events = events
        self.reader = HeadReader(header_bytes, header_count)
        self.parser = HttpResponseParser(self)

    cdef void close(self):
        self.parser = None      # it holds this object
        self.events = None

    cdef void begin(self):
        self.in_response = False
        self.interims = 0
        self.head_bytes = 0

    cdef str feed(self, bytes data):
        self.head_bytes += PyBytes_GET_SIZE(data)
        try:
            self.parser.feed_data(data)
        except HttpParserCallbackError as error:
            if self.reader.fault is None:
                raise error.__context__ if error.__context__ is not None else error
            return f"the upstream's answer was refused: {self.reader.fault}"
        except HttpParserUpgrade as upgrade:
            if not self.tunnel:
                return "the upstream switched protocols without being asked"
            rest = data[upgrade.args[0]:]
            if rest:
                self.events.on_body_data(rest)
            return None
        except HttpParserError as error:
            return f"the upstream does not speak HTTP/1.1: {error}"
        if self.head_bytes > self.reader.size_limit + HEAD_SLACK and self.events.awaits_response():
            return f"the upstream's answer has {'trailers' if self.in_response else 'a head'} without end"
        return None

    # --- httptools callbacks -----------------------------------------------------------------------------------------
    def on_message_begin(self):
        if not self.events.awaits_response():
            self.reader.refuse(502, "an answer too many")
            raise RefusedError

    def on_header(self, bytes name, bytes value):
        if self.in_response:
            return      # trailers end here
        if self.reader.add(name, value) < 0:
            raise RefusedError

    def on_headers_complete(self):
        cdef int status = self.parser.get_status_code()
        cdef Head head = take_response(self.reader, status, self.reader.version(self.parser))
        if head is None:
            raise RefusedError
        self.head_bytes = 0
        if status == 101 and not (self.upgrade_requested and head.upgrades):
            self.reader.refuse(502, "101 without being asked")
            raise RefusedError
        if status < 200 and status != 101:
            self.interims += 1
            if self.interims > INTERIM_LIMIT:
                self.reader.refuse(502, "interim answers without a final one")
                raise RefusedError
            self.events.on_interim_head(status)
            return
        self.in_response = True
        self.tunnel = status == 101
        self.events.on_response_head(head)
        if self.to_head and self.events.awaits_response():
            # llhttp would wait for the body that a response to HEAD never has, so the parser is replaced. Bytes that
            # still come in this read reach on_body outside a response and end the connection.
            self.parser = HttpResponseParser(self)
            self.in_response = False
            self.events.on_complete()

    def on_body(self, bytes data):
        if not self.in_response:
            self.reader.refuse(502, "a body where none belongs")
            raise RefusedError
        self.head_bytes = 0
        self.events.on_body_data(data)

    def on_message_complete(self):
        if self.in_response and not self.tunnel:     # else the end of an interim response, or the beginning of a tunnel
            self.in_response = False
            self.events.on_complete()
