from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcpy
from native.codec.head cimport NO_BODY
from native.codec.head_writer cimport FRAME_CHUNKED, FRAME_LENGTH, FRAME_NONE, frame_chunk, last_chunk

# A chunk or body up to this size is copied into one buffer with its framing, or with the head before it. The parts of
# larger ones are written as they are.
cdef Py_ssize_t JOIN_LIMIT = 4096


cdef int framing_of(int status, int64_t length, bint bodiless, int version) noexcept:
    if status == 204 or (status == 304 and length < 0):
        return FRAME_NONE
    if length >= 0 or length == NO_BODY:
        return FRAME_LENGTH
    return FRAME_NONE if bodiless or version == 10 else FRAME_CHUNKED


cdef bytes join(bytes first, bytes second):
    cdef Py_ssize_t before = PyBytes_GET_SIZE(first)
    cdef bytes both = PyBytes_FromStringAndSize(NULL, before + PyBytes_GET_SIZE(second))
    memcpy(PyBytes_AS_STRING(both), PyBytes_AS_STRING(first), before)
    memcpy(PyBytes_AS_STRING(both) + before, PyBytes_AS_STRING(second), PyBytes_GET_SIZE(second))
    return both


cdef class MessageWriter:
    cdef int begin(self, bytes head, bint chunked) except -1:
        self.head = head
        self.chunked = chunked

    cdef int flush(self) except -1:
        cdef bytes head = self.head
        if head is not None:
            self.head = None
            self.socket.write(head)

    cdef int write(self, bytes data) except -1:
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        cdef bytes head = self.head
        if size == 0:
            self.flush()
            return 0
        self.head = None
        if self.chunked and size <= JOIN_LIMIT:
            self.socket.write(frame_chunk(head, data))
            return 0
        if head is not None and not self.chunked and size <= JOIN_LIMIT:
            self.socket.write(join(head, data))
            return 0
        if head is not None:
            self.socket.write(head)
        if self.chunked:
            self.socket.write(b"%x\r\n" % size)
        self.socket.write(data)
        if self.chunked:
            self.socket.write(b"\r\n")

    cdef int end(self, list trailers) except -1:
        cdef bytes head = self.head
        if not self.chunked:
            self.flush()
            return 0
        self.head = None
        if head is not None:
            self.socket.write(head)
        self.socket.write(last_chunk(trailers))
