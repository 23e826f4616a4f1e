from native.http.http2_outbox cimport QUEUE_HIGH


cdef class StreamFlow(Outbox):
    cdef bint send(self, bytes data):
        self.push(data)
        self.connection.resume_sending(self.number, self)
        if self.queued <= QUEUE_HIGH or self.congested:
            return False
        self.congested = True
        return True

    cdef int end(self, list trailers) except -1:
        self.ended = True
        self.trailers = trailers
        self.connection.resume_sending(self.number, self)

    cdef int received(self, Py_ssize_t size) except -1:
        if self.paused:
            self.owed += size
        else:
            self.connection.consumed(self.number, size)

    cdef int resume(self) except -1:
        cdef Py_ssize_t owed = self.owed
        self.paused = False
        self.owed = 0
        if owed and not self.closed:
            self.connection.consumed(self.number, owed)

    cdef int close(self) except -1:
        self.closed = True
        self.clear()
