from binascii import b2a_base64

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memchr, memcmp
from native.codec.grpc cimport frame

cdef unsigned char TRAILERS_FLAG = 0x80
cdef const char* ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
cdef unsigned char[256] VALUE_OF        # of a character; 255 = it is none of the alphabet


cdef int fill_values() except -1:
    cdef int i
    for i in range(256):
        VALUE_OF[i] = 255
    for i in range(64):
        VALUE_OF[<unsigned char>ALPHABET[i]] = <unsigned char>i
    return 0


fill_values()


cdef bint ends_type(const char* p, Py_ssize_t size, Py_ssize_t at) noexcept:
    """Return whether a media type's name may end at ``at``."""
    return size == at or p[at] == c"+" or p[at] == c";" or p[at] == c" "


cdef int web_kind(bytes content_type) noexcept:
    cdef const char* p
    cdef Py_ssize_t size
    if content_type is None:
        return NOT_WEB
    p = PyBytes_AS_STRING(content_type)
    size = PyBytes_GET_SIZE(content_type)
    if size < 20 or memcmp(p, b"application/grpc-web", 20) != 0:
        return NOT_WEB
    if ends_type(p, size, 20):
        return WEB_BINARY
    return WEB_TEXT if size >= 25 and memcmp(p + 20, b"-text", 5) == 0 and ends_type(p, size, 25) else NOT_WEB


cdef bytes message_format(bytes content_type):
    cdef const char* p = PyBytes_AS_STRING(content_type)
    cdef const char* plus = <const char*>memchr(p, c"+", PyBytes_GET_SIZE(content_type))
    return b"" if plus == NULL else content_type[plus - p:]


cdef bytes trailer_frame(list trailers):
    cdef bytes block = b"".join([name + b":" + value + b"\r\n" for name, value in trailers])
    cdef bytes result = frame(block)
    PyBytes_AS_STRING(result)[0] = <char>TRAILERS_FLAG      # nobody else has seen the object yet
    return result


cdef bytes to_text(bytes data):
    return b2a_base64(data, newline=False)


cdef class TextReader:
    def __repr__(self):
        return f"<TextReader count={self.count} failed={self.failed}>"

    cdef bytes push(self, bytes data):
        cdef const unsigned char* p = <const unsigned char*>PyBytes_AS_STRING(data)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        cdef bytes result = PyBytes_FromStringAndSize(NULL, (size + self.count) // 4 * 3)
        cdef unsigned char* out = <unsigned char*>PyBytes_AS_STRING(result)
        cdef Py_ssize_t at, written = 0
        cdef unsigned char value
        if self.failed:
            return b""
        for at in range(size):
            value = VALUE_OF[p[at]]
            if p[at] == c"=" and self.count >= 2:
                self.padding += 1
                value = 0
            elif value == 255 or self.padding:
                self.failed = True
                break
            self.bits = self.bits << 6 | value
            self.count += 1
            if self.count == 4:
                out[written] = <unsigned char>(self.bits >> 16)
                out[written + 1] = <unsigned char>(self.bits >> 8)
                out[written + 2] = <unsigned char>self.bits
                written += 3 - self.padding
                self.bits = 0
                self.count = self.padding = 0
        return result if written == PyBytes_GET_SIZE(result) else result[:written]

    cdef bint is_whole(self) noexcept:
        return self.count == 0 and not self.failed

    def read(self, bytes data not None):
        """Decode more of a text; return the bytes. See ``failed``."""
        return self.push(data)

    def whole(self):
        """Return whether all that came is complete and valid."""
        return self.is_whole()


def kind_of(bytes content_type):
    """Return 0 for another media type than gRPC-Web's, 1 for its binary form, 2 for its text."""
    return web_kind(content_type)


def write_trailers(list trailers not None):
    """Return (name, value) pairs as the frame that ends a body."""
    return trailer_frame(trailers)
