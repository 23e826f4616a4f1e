from cpython.bytes cimport PyBytes_GET_SIZE
from native.codec.head cimport NO_BODY
from native.codec.head_writer cimport FRAME_CHUNKED, FRAME_LENGTH, FRAME_NONE, frame_chunk, last_chunk

# A chunk up to this size is copied into one buffer with its framing. The parts of larger ones are written as they are.
cdef Py_ssize_t JOIN_LIMIT = 4096


cdef int framing_of(int status, int64_t length, bint bodiless, int version) noexcept:
    if status == 204 or (status == 304 and length < 0):
        return FRAME_NONE
    if length >= 0 or length == NO_BODY:
        return FRAME_LENGTH
    return FRAME_NONE if bodiless or version == 10 else FRAME_CHUNKED


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
