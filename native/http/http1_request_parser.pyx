from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from native.codec.chunked cimport (
    CHUNKS_SOUND, LARGE_TRAILERS, begin_chunks, decode_chunks, describe_chunks, take_pieces,
)
from native.codec.head cimport NO_BODY, UNKNOWN_LENGTH
from native.codec.head_reader cimport keep_heads
from native.codec.http1_head cimport COMPLETE, REFUSED, method_name
from native.codec.request_head cimport take_request

# What may stand in a head beside its fields: the request line with its target, and white space around values.
cdef Py_ssize_t HEAD_SLACK = 16384
# Chunk framing and extensions may cost this much beyond a tenth of the body and an allowance for each chunk. More is an
# attack.
cdef Py_ssize_t OVERHEAD_LIMIT = 65536

cdef enum Phase:
    IN_HEAD
    IN_LENGTH           # in a body with a length
    IN_CHUNKS
    ENDED               # behind a request that ends the connection


cdef class RequestEvents:
    cdef int on_head_begin(self) except -1:
        return 0

    cdef bint on_head(self, Head head):
        return False

    cdef bint on_body(self, bytes data):
        return False

    cdef int on_complete(self) except -1:
        return 0

    cdef bint on_upgrade(self, bytes rest):
        return False


# A callback may stop or close the parser: after each, nothing is touched but ``stopped``.


cdef class RequestParser:
    """The parser of one connection.

    Args:
        events: receives the parts of each request.
        header_bytes, header_count: bounds on one head.
    """

    def __init__(self, RequestEvents events, Py_ssize_t header_bytes, int header_count):
        self.events = events
        self.reader = HeadReader(header_bytes, header_count)
        self.scanner = HeadScanner(True, header_bytes + HEAD_SLACK, header_bytes, header_count)

    cdef int close(self) except -1:
        self.stopped = True
        self.events = None

    cdef int stop(self) except -1:
        self.stopped = True

    cdef int refuse(self, int status, str reason):
        if self.fault is None:
            self.fault = reason
            self.fault_status = status
        self.stopped = True
        return -1

    cdef int feed(self, const char* data, Py_ssize_t size) except -1:
        cdef const char* end = data + size
        while data < end and not self.stopped:
            if self.phase == IN_HEAD:
                data += self.read_head(data, end - data)
            elif self.phase == IN_LENGTH:
                data += self.read_length(data, end - data)
            elif self.phase == IN_CHUNKS:
                data += self.read_chunks(data, end - data)
            else:
                data += self.read_ended(data, end - data)

    cdef Py_ssize_t read_head(self, const char* data, Py_ssize_t size) except -1:
        cdef RequestEvents events = self.events
        cdef HeadScanner scanner = self.scanner
        cdef int result = scanner.feed(data, size)
        if scanner.scan.begun and not self.in_head:
            self.in_head = True
            events.on_head_begin()
        if self.stopped:
            return size
        if result == REFUSED:
            status = scanner.refusal_status()
            reason = scanner.describe()
            self.refuse(status, f"the request is not HTTP/1.1: {reason}" if status == 400 else reason)
        elif result == COMPLETE:
            return self.take_head(data, size)
        return size

    cdef Py_ssize_t take_head(self, const char* data, Py_ssize_t size) except -1:
        """Judge the complete head and hand it on; return how many of these bytes it took."""
        cdef RequestEvents events = self.events
        cdef HeadScanner scanner = self.scanner
        cdef HeadReader reader = self.reader
        cdef Py_ssize_t used = scanner.used
        cdef bytes target = None
        cdef Head head
        if self.heads < 2:
            self.heads += 1
            if self.heads == 2:
                keep_heads(reader, scanner)
        elif scanner.scan.first_kept:
            target = reader.kept.target
        if target is None:
            target = PyBytes_FromStringAndSize(scanner.base + scanner.scan.target, scanner.scan.target_size)
        reader.add_slices(scanner.base, &scanner.scan)
        head = take_request(reader, method_name(scanner.scan.method), target, scanner.scan.version)
        if head is None:
            self.refuse(reader.fault_status, reader.fault)
            return used
        reader.keep(scanner.base, &scanner.scan, head)
        scanner.release()
        if head.length != NO_BODY:
            # A server may ignore Upgrade (RFC 9110 7.8): a body and a tunnel are never taken together.
            head.upgrade = None
        self.in_head = False
        self.keep_alive = head.keep_alive
        self.upgrades = head.upgrade is not None
        if head.length == UNKNOWN_LENGTH:
            self.phase = IN_CHUNKS
            begin_chunks(&self.chunks, OVERHEAD_LIMIT, reader.size_limit, False)
        else:
            self.phase = IN_LENGTH
            self.left = max(head.length, 0)
        if not events.on_head(head):
            self.stopped = True
        if self.stopped or self.phase == IN_CHUNKS or self.left:
            return used
        self.end_request()
        # Only a service may take an upgrade, and then what follows waits for its answer. Elsewhere the field is ignored
        # (RFC 9110 7.8), and what follows is the next request.
        if self.upgrades and not self.stopped and events.on_upgrade(
            PyBytes_FromStringAndSize(data + used, size - used)
        ):
            return size
        return used

    cdef Py_ssize_t read_length(self, const char* data, Py_ssize_t size) except -1:
        cdef RequestEvents events = self.events
        cdef Py_ssize_t used = <Py_ssize_t>min(self.left, <int64_t>size)
        self.left -= used
        if not events.on_body(PyBytes_FromStringAndSize(data, used)):
            self.stopped = True
        if self.left == 0 and not self.stopped:
            self.end_request()
        return used

    cdef Py_ssize_t read_chunks(self, const char* data, Py_ssize_t size) except -1:
        cdef RequestEvents events = self.events
        cdef Py_ssize_t used = decode_chunks(&self.chunks, data, size)
        cdef bytes body = take_pieces(&self.chunks, data)
        if body is not None and not events.on_body(body):
            self.stopped = True
        if self.stopped:
            return size
        if self.chunks.fault != CHUNKS_SOUND:
            self.refuse(431 if self.chunks.fault == LARGE_TRAILERS else 400, describe_chunks(&self.chunks))
        elif self.chunks.complete:
            self.end_request()
        return used

    cdef int end_request(self) except -1:
        cdef RequestEvents events = self.events
        self.phase = IN_HEAD if self.keep_alive else ENDED
        events.on_complete()
        return 0

    cdef Py_ssize_t read_ended(self, const char* data, Py_ssize_t size) except -1:
        """Drop the line end that old clients send behind a body; nothing else may follow."""
        if data[0] != c"\r" and data[0] != c"\n":
            self.refuse(400, "data behind a request that ends the connection")
        return 1


cdef class CollectedRequests(RequestEvents):
    """Collects requests for Python. No tunnel is taken: what follows is parsed as the next request."""

    cdef list found     # [Head, pieces of the body, whether it is complete]

    cdef int on_head_begin(self) except -1:
        return 0

    cdef bint on_head(self, Head head):
        self.found.append([head, [], False])
        return True

    cdef bint on_body(self, bytes data):
        self.found[-1][1].append(data)
        return True

    cdef int on_complete(self) except -1:
        self.found[-1][2] = True

    cdef bint on_upgrade(self, bytes rest):
        return False


def parse_requests(list pieces not None, Py_ssize_t header_bytes=65536, int header_count=100):
    """Parse what comes on one connection, in these pieces.

    Returns:
        (requests, refusal): (Head, body, whether it is complete) of each request in order, and (status, reason) of what
        was refused behind them, or None.
    """
    cdef CollectedRequests collected = CollectedRequests.__new__(CollectedRequests)
    cdef RequestParser parser = RequestParser(collected, header_bytes, header_count)
    collected.found = []
    for piece in pieces:
        parser.feed(PyBytes_AS_STRING(<bytes?>piece), PyBytes_GET_SIZE(<bytes?>piece))
    requests = [(head, b"".join(body), complete) for head, body, complete in collected.found]
    return requests, None if parser.fault is None else (parser.fault_status, parser.fault)
