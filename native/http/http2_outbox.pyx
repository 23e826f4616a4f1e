from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_SIZE
from libc.string cimport memcpy
from native.codec.pieces cimport add_piece

# Items at the head of ``more`` that have been sent are removed once there are this many.
cdef Py_ssize_t SPENT = 64


cdef class Outbox:
    cdef int push(self, bytes data) except -1:
        if self.first is None:
            self.first = data
        elif self.more is None:
            self.more = [data]
        elif PyList_GET_SIZE(self.more) > self.at:
            add_piece(self.more, data)
        else:
            self.more.append(data)
        self.queued += PyBytes_GET_SIZE(data)

    cdef Py_ssize_t pull(self, uint8_t* out, Py_ssize_t size):
        cdef Py_ssize_t done = 0
        cdef Py_ssize_t n
        while done < size and self.queued:
            n = min(PyBytes_GET_SIZE(self.first) - self.offset, size - done)
            memcpy(out + done, PyBytes_AS_STRING(self.first) + self.offset, n)
            done += n
            self.pulled += n
            self.offset += n
            self.queued -= n
            if self.offset == PyBytes_GET_SIZE(self.first):
                self.advance()
        return done

    cdef advance(self):
        """Drop the first item, which has been sent, and move to the next."""
        cdef list more = self.more
        self.offset = 0
        if more is None or self.at == PyList_GET_SIZE(more):
            self.first = None
            if self.at:
                more.clear()
                self.at = 0
            return
        self.first = <bytes>more[self.at]
        more[self.at] = None
        self.at += 1
        if self.at > SPENT and self.at * 2 > PyList_GET_SIZE(more):
            del more[:self.at]
            self.at = 0

    cdef int trim(self) except -1:
        if self.offset >= <Py_ssize_t>QUEUE_HIGH:
            self.first = self.first[self.offset:]
            self.offset = 0

    cdef int clear(self) except -1:
        self.first = None
        self.more = None
        self.at = 0
        self.offset = 0
        self.queued = 0
