from cpython.bytes cimport PyBytes_GET_SIZE
from native.codec.head_writer cimport frame_chunk, last_chunk

# Data up to this size is copied into one buffer with its head and framing. Larger data is written without a copy.
cdef Py_ssize_t JOIN_LIMIT = 32768


cdef class MessageWriter:
    cdef void begin(self, bytes head, bint chunked):
        self.head = head
        self.chunked = chunked

    cdef void flush(self):
        cdef bytes head = self.head
        if head is not None:
            self.head = None
            self.socket.write(head)

    cdef void write(self, bytes data):
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        cdef bytes head = self.head
        if size == 0:
            self.flush()
            return
        self.head = None
        if size > JOIN_LIMIT:
            if self.chunked:
                line = b"%x\r\n" % size
                self.socket.write(line if head is None else head + line)
                self.socket.write(data)
                self.socket.write(b"\r\n")
                return
            if head is not None:
                self.socket.write(head)
            self.socket.write(data)
        elif self.chunked:
            self.socket.write(frame_chunk(head, data))
        else:
            self.socket.write(data if head is None else head + data)

    cdef void end(self, list trailers):
        cdef bytes head = self.head
        if not self.chunked:
            self.flush()
            return
        self.head = None
        end = last_chunk(trailers)
        self.socket.write(end if head is None else head + end)
