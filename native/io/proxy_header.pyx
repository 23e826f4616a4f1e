"""Reads the PROXY protocol, versions 1 and 2, as HAProxy's specification of it says (proxy-protocol.txt, 2020).

Nothing behind the header is taken: what follows is the first bytes of TLS or HTTP."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from native.io.posix cimport AF_INET, AF_INET6, INET6_ADDRSTRLEN, inet_ntop, inet_pton

cdef enum:
    TEXT_LONGEST = 107      # with its line end (2.1)
    FIXED = 16              # bytes before the addresses of version 2 (2.2)
    SIGNATURE = 12
    TLS_EXTENSION = 0x20    # PP2_TYPE_SSL (2.2.6)

cdef const char* TEXT = b"PROXY "
cdef const char* BINARY = b"\r\n\r\n\0\r\nQUIT\n"


cdef class ProxyHeader(Preface):
    """The header of one connection."""

    def __repr__(self):
        return f"<ProxyHeader size={self.size} source={self.source}>"

    cdef Py_ssize_t feed(self, const char* data, Py_ssize_t size):
        cdef Py_ssize_t i
        cdef char c
        for i in range(size):
            c = data[i]
            self.data[self.size] = c
            self.size += 1
            if self.data[0] == c"P":
                if self.size <= 6 and c != TEXT[self.size - 1]:
                    self.is_bad = True
                elif c == c"\n":
                    self._judge_text()
                elif self.size >= TEXT_LONGEST:
                    self.is_bad = True
            elif self.size <= SIGNATURE:
                self.is_bad = c != BINARY[self.size - 1]
            elif self.size == FIXED:
                self.total = FIXED + (<Py_ssize_t><unsigned char>self.data[14] << 8) + <unsigned char>self.data[15]
                self.is_bad = self.total > PROXY_LONGEST
            if self.total and self.size == self.total and not self.is_bad:
                self._judge_binary()
            if self.is_bad:
                self.fault = "no PROXY header came first"
            if self.is_bad or self.is_complete:
                return i + 1
        return size

    cdef int _judge_text(self) except -1:
        cdef bytes line = self.data[:self.size]
        cdef list words
        cdef int family
        cdef char[16] packed
        self.is_bad = True
        if not line.endswith(b"\r\n"):
            return 0
        words = line[:-2].split(b" ")
        if len(words) > 1 and words[1] == b"UNKNOWN":
            self.is_bad = False
            self.is_complete = True
            return 0
        if len(words) != 6 or not (words[1] == b"TCP4" or words[1] == b"TCP6"):
            return 0
        family = AF_INET if words[1] == b"TCP4" else AF_INET6
        for word in words[2:4]:
            if b"\0" in <bytes>word or inet_pton(family, PyBytes_AS_STRING(<bytes>word), packed) != 1:
                return 0
        for word in words[4:]:
            if not (<bytes>word).isdigit() or PyBytes_GET_SIZE(<bytes>word) > 5 or int(word) > 65535:
                return 0
        self.source = ((<bytes>words[2]).decode("ascii"), int(words[4]))
        self.is_bad = False
        self.is_complete = True

    cdef int _judge_binary(self) except -1:
        cdef const unsigned char* p = <const unsigned char*>self.data
        cdef int command = p[12]
        cdef int kind = p[13]
        cdef Py_ssize_t addresses = 0
        cdef char[INET6_ADDRSTRLEN] text
        self.is_bad = True
        if command != 0x20 and command != 0x21:
            return 0
        if kind >> 4 > 3 or kind & 15 > 2:
            return 0
        if kind >> 4 == 1:
            addresses = 12
        elif kind >> 4 == 2:
            addresses = 36
        elif kind >> 4 == 3:
            addresses = 216
        if self.total < FIXED + addresses:
            return 0
        if command == 0x20:             # LOCAL: the load balancer speaks for itself, as its health checks do
            self.is_bad = False
            self.is_complete = True
            return 0
        if not self._read_extensions(FIXED + addresses):
            return 0
        text[0] = 0
        if kind == 0x11:
            inet_ntop(AF_INET, p + FIXED, text, INET6_ADDRSTRLEN)
            self.source = (text.decode("ascii"), (p[FIXED + 8] << 8) + p[FIXED + 9])
        elif kind == 0x21:
            inet_ntop(AF_INET6, p + FIXED, text, INET6_ADDRSTRLEN)
            self.source = (text.decode("ascii"), (p[FIXED + 32] << 8) + p[FIXED + 33])
        self.is_bad = False
        self.is_complete = True

    cdef bint _read_extensions(self, Py_ssize_t at) noexcept:
        """Return whether the extensions (TLV) fill the rest of the header exactly."""
        cdef const unsigned char* p = <const unsigned char*>self.data
        cdef Py_ssize_t size
        while at < self.total:
            if self.total - at < 3:
                return False
            size = (<Py_ssize_t>p[at + 1] << 8) + p[at + 2]
            if size > self.total - at - 3:
                return False
            if p[at] == TLS_EXTENSION and size >= 5:
                self.is_secure = p[at + 3] & 1
            at += 3 + size
        return True


def read_proxy_header(bytes data not None):
    """Return (bytes that belong to the header, complete, bad, source, secure) after these first bytes of a connection."""
    cdef ProxyHeader header = ProxyHeader.__new__(ProxyHeader)
    cdef Py_ssize_t taken = header.feed(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
    return taken, header.is_complete, header.is_bad, header.source, header.is_secure
