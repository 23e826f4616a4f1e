from base64 import b64decode, b64encode
from binascii import Error
from hashlib import sha1

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

# RFC 6455 1.3.
cdef bytes ACCEPTED = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
# A smaller buffer is kept for the next message.
cdef Py_ssize_t SMALL = 65536
cdef uint64_t HIGH_BITS = 0x8080808080808080u


cdef bint take_utf8(Utf8* state, const unsigned char* p, Py_ssize_t size) noexcept nogil:
    cdef const unsigned char* end = p + size
    cdef uint64_t eight = 0
    cdef unsigned char c
    while p < end:
        if state.need == 0 and end - p >= 8:
            memcpy(&eight, p, 8)
            if not eight & HIGH_BITS:
                p += 8
                continue
        c = p[0]
        p += 1
        if state.need:
            if c < state.low or c > state.high:
                return False
            state.need -= 1
            state.low = 0x80
            state.high = 0xBF
        elif c >= 0x80:
            # the bounds exclude longer forms than needed, surrogates, and what is above U+10FFFF (RFC 3629 4)
            state.low = 0x80
            state.high = 0xBF
            if 0xC2 <= c <= 0xDF:
                state.need = 1
            elif 0xE0 <= c <= 0xEF:
                state.need = 2
                if c == 0xE0:
                    state.low = 0xA0
                elif c == 0xED:
                    state.high = 0x9F
            elif 0xF0 <= c <= 0xF4:
                state.need = 3
                if c == 0xF0:
                    state.low = 0x90
                elif c == 0xF4:
                    state.high = 0x8F
            else:
                return False
    return True


cdef bint is_utf8(bytes text) noexcept:
    cdef Utf8 state
    state.need = 0
    return take_utf8(&state, <const unsigned char*>PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text)) and not state.need


cdef void unmask(
    unsigned char* to, const unsigned char* p, Py_ssize_t size, const unsigned char* key, uint64_t offset
) noexcept nogil:
    """Copy a part of a payload, and apply the mask to it (RFC 6455 5.3). ``offset`` is its place in the payload."""
    cdef unsigned char[8] turned
    cdef uint64_t mask = 0
    cdef uint64_t eight = 0
    cdef Py_ssize_t at = 0
    cdef int i
    for i in range(8):
        turned[i] = key[(offset + <uint64_t>i) & 3]
    memcpy(&mask, turned, 8)
    while size - at >= 8:
        memcpy(&eight, p + at, 8)
        eight ^= mask
        memcpy(to + at, &eight, 8)
        at += 8
    while at < size:
        to[at] = p[at] ^ turned[at & 7]
        at += 1


cdef bint is_sent_code(int code) noexcept:
    """Return whether an end may send this code (RFC 6455 7.4, and the registry: 1012 to 1014)."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


cdef class FrameReader:
    """Reads the frames of one peer.

    Args:
        limit: bytes of a message, all its frames together.
        masked: the peer has to mask its frames, because it is a client; a server must not.
    """

    def __cinit__(self, Py_ssize_t limit, bint masked=True):
        self.limit = limit
        self.masked = masked

    def __dealloc__(self):
        PyMem_Free(self.kept)

    def push(self, bytes data not None):
        """Feed a chunk; return (opcode, payload) of what is complete. With ``fault`` set the connection has to fail."""
        return self.feed(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))

    @property
    def held(self):
        """Bytes of the message that is open."""
        return self.size

    @property
    def within(self):
        """Whether a frame or a message is incomplete."""
        return self.is_within()

    cdef bint is_within(self) noexcept:
        return self.have != 0 or self.message != 0

    cdef list feed(self, const char* data, Py_ssize_t size):
        cdef const unsigned char* p = <const unsigned char*>data
        cdef const unsigned char* end = p + size
        cdef list found = []
        cdef Py_ssize_t taken
        while not self.fault and not self.closed:
            if self.have >= 0:
                if p == end:
                    break
                self.head[self.have] = p[0]
                self.have += 1
                p += 1
                self._take_head()
                if self.have >= 0 or self.left:
                    continue
            else:
                taken = <Py_ssize_t>min(self.left, <uint64_t>(end - p))
                if taken == 0:
                    break
                self._take_payload(p, taken)
                p += taken
            if not self.left and not self.fault:
                self._end_frame(found)
        return found

    cdef int _take_head(self) except -1:
        """Judge a head as soon as its first bytes have come, and read it once it is complete."""
        cdef int second = self.head[1] & 0x7F
        cdef int needed = 2 + (2 if second == 126 else 8 if second == 127 else 0) + (4 if self.masked else 0)
        cdef uint64_t length = second
        cdef int i
        if self.have == 1:
            self.opcode = self.head[0] & 0x0F
            self.final = self.head[0] >> 7
            if self.head[0] & 0x70:
                return self._fail(PROTOCOL_ERROR, "a reserved bit is set, and no extension was agreed on")
            if self.opcode > 2 and not CLOSE <= self.opcode <= PONG:
                return self._fail(PROTOCOL_ERROR, f"the opcode {self.opcode} is reserved")
            if self.opcode >= CLOSE and not self.final:
                return self._fail(PROTOCOL_ERROR, "a control frame is fragmented")
            if self.opcode == CONTINUATION and not self.message:
                return self._fail(PROTOCOL_ERROR, "a continuation of nothing")
            if (self.opcode == TEXT or self.opcode == BINARY) and self.message:
                return self._fail(PROTOCOL_ERROR, "a message begins within another")
            return 0
        if self.have == 2:
            if (self.head[1] >> 7) != self.masked:
                return self._fail(PROTOCOL_ERROR, "a frame is not masked" if self.masked else "a frame is masked")
            if self.opcode >= CLOSE and second > 125:
                return self._fail(PROTOCOL_ERROR, "a control frame has more than 125 bytes")
        if self.have < needed:
            return 0
        if second > 125:
            length = 0
            for i in range(2, 4 if second == 126 else 10):
                length = length << 8 | self.head[i]
            if length >> 63 or length < (126 if second == 126 else 65536):
                return self._fail(PROTOCOL_ERROR, "a length is not written in its shortest form")
        if self.opcode < CLOSE and length > <uint64_t>(self.limit - self.size):
            return self._fail(TOO_BIG, f"a message has more than {self.limit} bytes")
        for i in range(4):
            self.key[i] = self.head[needed - 4 + i] if self.masked else 0
        if self.opcode == TEXT or self.opcode == BINARY:
            self.message = self.opcode
            self.text.need = 0
        self.left = length
        self.offset = 0
        self.have = -1

    cdef int _take_payload(self, const unsigned char* p, Py_ssize_t size) except -1:
        cdef unsigned char* to
        cdef char* grown
        cdef Py_ssize_t room
        if self.opcode >= CLOSE:
            to = self.control + self.offset
        else:
            if self.size + size > self.room:
                # by what has come, and not by what was announced
                room = min(max(self.size + size, 2 * self.room), max(self.limit, self.size + size))
                grown = <char*>PyMem_Realloc(self.kept, room)
                if grown == NULL:
                    raise MemoryError
                self.kept = grown
                self.room = room
            to = <unsigned char*>self.kept + self.size
            self.size += size
        unmask(to, p, size, self.key, self.offset)
        self.offset += <uint64_t>size
        self.left -= <uint64_t>size
        if self.opcode < CLOSE and self.message == TEXT and not take_utf8(&self.text, to, size):
            return self._fail(NOT_TEXT, "a text is not UTF-8")

    cdef int _end_frame(self, list found) except -1:
        cdef bytes payload
        cdef int code
        self.have = 0
        if self.opcode < CLOSE:
            if not self.final:
                return 0
            if self.message == TEXT and self.text.need:
                return self._fail(NOT_TEXT, "a text is not UTF-8")
            found.append((self.message, PyBytes_FromStringAndSize(self.kept, self.size)))
            self.message = 0
            self.size = 0
            if self.room > SMALL:
                PyMem_Free(self.kept)
                self.kept = NULL
                self.room = 0
            return 0
        payload = PyBytes_FromStringAndSize(<const char*>self.control, <Py_ssize_t>self.offset)
        if self.opcode == CLOSE:
            if PyBytes_GET_SIZE(payload) == 1:
                return self._fail(PROTOCOL_ERROR, "a Close has half a code")
            code = code_of_close(payload)
            if PyBytes_GET_SIZE(payload) and not is_sent_code(code):
                return self._fail(PROTOCOL_ERROR, f"nobody may send the code {code}")
            if not is_utf8(payload[2:]):
                return self._fail(NOT_TEXT, "the reason of a Close is not UTF-8")
            self.closed = True
        found.append((self.opcode, payload))

    cdef int _fail(self, int code, str reason) except -1:
        self.fault = code
        self.reason = reason
        self.message = self.have = 0
        self.size = self.room = 0
        PyMem_Free(self.kept)
        self.kept = NULL
        return 0


cdef bytes write_frame(int opcode, bytes payload):
    return _written(opcode, b"", payload, 0)


cdef bytes write_text(bytes front, bytes data, Py_ssize_t start):
    return _written(TEXT, front, data, start)


cdef bytes _written(int opcode, bytes front, bytes data, Py_ssize_t start):
    """Return a frame in one buffer of its exact size."""
    cdef Py_ssize_t before = PyBytes_GET_SIZE(front)
    cdef Py_ssize_t rest = PyBytes_GET_SIZE(data) - start
    cdef Py_ssize_t length = before + rest
    cdef int head = 2 if length < 126 else 4 if length < 65536 else 10
    cdef bytes written = PyBytes_FromStringAndSize(NULL, head + length)
    cdef unsigned char* p = <unsigned char*>PyBytes_AS_STRING(written)
    cdef int i
    p[0] = 0x80 | opcode
    p[1] = <unsigned char>(length if head == 2 else 126 if head == 4 else 127)
    for i in range(2, head):
        p[i] = <unsigned char>(length >> 8 * (head - 1 - i) & 0xFF)
    memcpy(p + head, PyBytes_AS_STRING(front), before)
    memcpy(p + head + before, PyBytes_AS_STRING(data) + start, rest)
    return written


cdef bytes close_payload(int code, str reason):
    return code.to_bytes(2, "big") + reason.encode("ascii", "replace")[:123]


cdef int code_of_close(bytes payload) noexcept:
    cdef const unsigned char* p = <const unsigned char*>PyBytes_AS_STRING(payload)
    return p[0] << 8 | p[1] if PyBytes_GET_SIZE(payload) >= 2 else 0


cdef bytes accept_value(bytes key):
    # Other texts of this length could be decoded to 16 bytes as well: RFC 4648 3.5 permits to ignore the last bits.
    if PyBytes_GET_SIZE(key) != 24:
        return None
    try:
        if len(b64decode(key, validate=True)) != 16:
            return None
    except Error:
        return None
    return b64encode(sha1(key + ACCEPTED, usedforsecurity=False).digest())


def frame(int opcode, bytes payload not None):
    """Return a frame of a server."""
    return write_frame(opcode, payload)


def text(bytes front not None, bytes data not None, Py_ssize_t start):
    """Return a text message of a server: ``front``, and ``data`` from ``start`` on."""
    if not 0 <= start <= PyBytes_GET_SIZE(data):
        raise ValueError(f"start is {start}, and data has {len(data)} bytes")
    return write_text(front, data, start)


def close(int code, str reason not None):
    """Return the payload of a Close."""
    return close_payload(code, reason)


def accept(bytes key not None):
    """Return the value of Sec-WebSocket-Accept for that of Sec-WebSocket-Key; None = it is none."""
    return accept_value(key)


def valid_utf8(bytes data not None):
    """Return whether ``data`` is UTF-8."""
    return is_utf8(data)
