from cpython.bytes cimport PyBytes_GET_SIZE
from native.io.atomics cimport add64

cdef extern from "<sys/ioctl.h>" nogil:
    const unsigned long TIOCOUTQ
    int ioctl(int fd, unsigned long request, ...)


cdef class Transport:
    cdef void attach(self, object transport):
        self.transport = transport
        self._write = transport.write
        transport.set_write_buffer_limits(high=WRITE_HIGH)

    cdef void detach(self):
        self.transport = None
        self._write = None

    cdef bint is_open(self):
        return self.transport is not None and not self.transport.is_closing()

    cdef void write(self, bytes data):
        if self.transport is None:
            return
        self.written += PyBytes_GET_SIZE(data)
        if self.bytes_out != NULL:
            add64(self.bytes_out, PyBytes_GET_SIZE(data))
        self._write(data)

    cdef void write_eof(self):
        if self.transport is not None and self.transport.can_write_eof():
            self.transport.write_eof()

    cdef void close(self):
        if self.transport is not None:
            self.transport.close()

    cdef void abort(self):
        if self.transport is not None:
            self.transport.abort()

    cdef void pause_reading(self):
        if not self.read_paused and self.transport is not None:
            self.read_paused = True
            self.transport.pause_reading()

    cdef bint resume_reading(self):
        if not self.read_paused or self.transport is None:
            return False
        self.read_paused = False
        self.transport.resume_reading()
        return True

    cdef void mark(self):
        self.marked = True

    cdef bint look(self):
        cdef int64_t taken
        cdef bint more
        if self.transport is None:
            return False
        self.unacked = self.count_unacked()
        taken = self.written - self.unacked
        more = taken > self.taken and not self.marked
        if taken > self.taken or self.marked:
            self.taken = taken
            self.marked = False
        return more

    cdef Py_ssize_t count_unacked(self):
        """Count what the peer has not acknowledged.

        The kernel reports a socket as writable only when a third of its buffer is free. What a slow peer takes shows
        long before that, in what is not acknowledged yet (tcp(7), SIOCOUTQ)."""
        cdef int queued = 0
        if self.transport is None:
            return 0
        sock = self.transport.get_extra_info("socket")
        if sock is None or ioctl(sock.fileno(), TIOCOUTQ, &queued) != 0:
            queued = 0
        return <Py_ssize_t>self.transport.get_write_buffer_size() + queued

    cdef Py_ssize_t count_pending(self):
        return self.count_unacked() if self.is_open() else 0     # a closing transport reports its end in a moment
