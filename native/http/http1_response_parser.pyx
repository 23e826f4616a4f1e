from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from native.codec.chunked cimport (
    CHUNKS_SOUND, LARGE_TRAILERS, begin_chunks, decode_chunks, describe_chunks, take_pieces,
)
from native.codec.head cimport NO_BODY
from native.codec.head_reader cimport keep_heads
from native.codec.http1_head cimport NEED_MORE, REFUSED
from native.codec.response_head cimport take_response

# What may stand in a head beside its fields: the status line, and white space around values. Between two pieces of a
# chunked body, and in its trailers, so much may stand beyond the bound on fields.
cdef Py_ssize_t HEAD_SLACK = 16384
# Interim responses before the final one: more than this is no progress.
cdef int INTERIM_LIMIT = 16

cdef enum Phase:
    IN_HEAD
    IN_LENGTH           # in a body with a length
    IN_CHUNKS
    UNTIL_CLOSE         # in a body that ends with the connection, or in a tunnel


cdef class ResponseEvents:
    cdef bint awaits_response(self):
        return False

    cdef int on_interim_head(self, int status) except -1:
        return 0

    cdef int on_response_head(self, Head head) except -1:
        return 0

    cdef int on_body_data(self, bytes data) except -1:
        return 0

    cdef int on_complete(self) except -1:
        return 0


# A callback may end the exchange or close the parser: ``feed`` asks after each whether a response is still awaited.


cdef class ResponseParser:
    """The parser of one connection.

    Args:
        events: receives the parts of each response.
        header_bytes, header_count: bounds on one head.
    """

    def __init__(self, ResponseEvents events, Py_ssize_t header_bytes, int header_count):
        self.events = events
        self.reader = HeadReader(header_bytes, header_count)
        self.scanner = HeadScanner(False, header_bytes + HEAD_SLACK, header_bytes, header_count)

    cdef int close(self) except -1:
        self.events = None

    cdef int begin(self) except -1:
        self.in_response = False
        self.interims = 0
        self.phase = IN_HEAD

    cdef int refuse(self, str reason):
        self.refusal = reason
        return -1

    cdef str feed(self, const char* data, Py_ssize_t size):
        cdef const char* end = data + size
        cdef ResponseEvents events = self.events
        cdef Py_ssize_t used
        while data < end:
            if not events.awaits_response():
                # Bytes after the end begin an unrequested response. The rest of an abandoned response is dropped.
                return None if self.in_response else "the upstream's answer was refused: an answer too many"
            if self.phase == IN_HEAD:
                used = self.read_head(data, end - data)
            elif self.phase == IN_LENGTH:
                used = self.read_length(data, end - data)
            elif self.phase == IN_CHUNKS:
                used = self.read_chunks(data, end - data)
            else:
                used = end - data
                events.on_body_data(PyBytes_FromStringAndSize(data, used))
            if used < 0:
                return self.refusal
            data += used
        return None

    cdef Py_ssize_t read_head(self, const char* data, Py_ssize_t size) except? -1:
        cdef HeadScanner scanner = self.scanner
        cdef HeadReader reader = self.reader
        cdef int result = scanner.feed(data, size)
        cdef Head head
        if result == NEED_MORE:
            return size
        if result == REFUSED:
            if scanner.scan.at == scanner.scan.head_limit:
                return self.refuse("the upstream's answer has a head without end")
            return self.refuse(f"the upstream does not speak HTTP/1.1: {scanner.describe()}")
        if self.heads < 2:
            self.heads += 1
            if self.heads == 2:
                keep_heads(reader, scanner)
        reader.add_slices(scanner.base, &scanner.scan)
        head = take_response(reader, scanner.scan.status, scanner.scan.version)
        if head is None:
            return self.refuse(f"the upstream's answer was refused: {reader.fault}")
        reader.keep(scanner.base, &scanner.scan, head)
        scanner.release()
        if head.status == 101 and not (self.upgrade_requested and head.upgrades):
            return self.refuse("the upstream's answer was refused: 101 without being asked")
        if head.status >= 200 or head.status == 101:
            self.take_final(head)
        elif self.take_interim(head) < 0:
            return -1
        return scanner.used

    cdef int take_interim(self, Head head) except? -1:
        cdef ResponseEvents events = self.events
        if head.length != NO_BODY and head.length != 0:
            # RFC 9110 8.6, RFC 9112 6.1: such a response has none of these fields, since it has no body
            return self.refuse("the upstream's answer was refused: an interim answer with a body")
        if not head.keep_alive:
            # RFC 9110 15.2: the final response follows on the connection, and HTTP/1.0 knows no other
            return self.refuse("the upstream's answer was refused: an interim answer that ends the connection")
        self.interims += 1
        if self.interims > INTERIM_LIMIT:
            return self.refuse("the upstream's answer was refused: interim answers without a final one")
        events.on_interim_head(head.status)
        return 0

    cdef int take_final(self, Head head) except -1:
        cdef ResponseEvents events = self.events
        cdef bint ended = False
        self.in_response = True
        self.tunnel = head.status == 101
        if self.tunnel or head.until_close and not self.to_head:
            self.phase = UNTIL_CLOSE
        elif self.to_head or head.status == 204 or head.status == 304 or head.length == 0:
            ended = True    # RFC 9112 6.3: such a response has no body, whatever its fields say
        elif head.length > 0:
            self.phase = IN_LENGTH
            self.left = head.length
        else:
            self.phase = IN_CHUNKS
            begin_chunks(
                &self.chunks, self.scanner.scan.head_limit, self.scanner.scan.head_limit, True
            )
        events.on_response_head(head)
        if ended and events.awaits_response():
            self.end_response()

    cdef Py_ssize_t read_length(self, const char* data, Py_ssize_t size) except? -1:
        cdef ResponseEvents events = self.events
        cdef Py_ssize_t used = <Py_ssize_t>min(self.left, <int64_t>size)
        self.left -= used
        events.on_body_data(PyBytes_FromStringAndSize(data, used))
        if self.left == 0 and events.awaits_response():
            self.end_response()
        return used

    cdef Py_ssize_t read_chunks(self, const char* data, Py_ssize_t size) except? -1:
        cdef ResponseEvents events = self.events
        cdef Py_ssize_t used = decode_chunks(&self.chunks, data, size)
        cdef bytes body = take_pieces(&self.chunks, data)
        if body is not None:
            events.on_body_data(body)
            if not events.awaits_response():
                return used
        if self.chunks.fault == LARGE_TRAILERS:
            return self.refuse("the upstream's answer has trailers without end")
        if self.chunks.fault != CHUNKS_SOUND:
            return self.refuse(f"the upstream does not speak HTTP/1.1: {describe_chunks(&self.chunks)}")
        if self.chunks.complete:
            self.end_response()
        return used

    cdef int end_response(self) except -1:
        cdef ResponseEvents events = self.events
        self.in_response = False
        self.phase = IN_HEAD
        events.on_complete()


cdef class CollectedResponse(ResponseEvents):
    """Collects one response for Python."""

    cdef list interims, pieces
    cdef Head head
    cdef bint complete

    cdef bint awaits_response(self):
        return not self.complete

    cdef int on_interim_head(self, int status) except -1:
        self.interims.append(status)

    cdef int on_response_head(self, Head head) except -1:
        self.head = head

    cdef int on_body_data(self, bytes data) except -1:
        self.pieces.append(data)

    cdef int on_complete(self) except -1:
        self.complete = True


def parse_response(
    list pieces not None, bint to_head=False, bint upgrade_requested=False, Py_ssize_t header_bytes=65536,
    int header_count=100,
):
    """Parse what comes behind one request, in these pieces.

    Args:
        to_head: the request is HEAD.
        upgrade_requested: it asks for a tunnel.

    Returns:
        (statuses of interim responses, Head or None, body or bytes of a tunnel, whether the response is complete, why it
        was refused or None). A response that ends with the connection is never complete here.
    """
    cdef CollectedResponse collected = CollectedResponse.__new__(CollectedResponse)
    cdef ResponseParser parser = ResponseParser(collected, header_bytes, header_count)
    cdef str refusal = None
    collected.interims = []
    collected.pieces = []
    parser.begin()
    parser.to_head = to_head
    parser.upgrade_requested = upgrade_requested
    for piece in pieces:
        refusal = parser.feed(PyBytes_AS_STRING(<bytes?>piece), PyBytes_GET_SIZE(<bytes?>piece))
        if refusal is not None:
            break
    return collected.interims, collected.head, b"".join(collected.pieces), collected.complete, refusal
