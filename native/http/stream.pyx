from native.io.atomics cimport store64

cdef extern from "<sys/ioctl.h>" nogil:
    const unsigned long TIOCOUTQ
    int ioctl(int fd, unsigned long request, ...)

# The roles themselves do nothing: a missing override is a fault of the programmer and says so.


cdef class Certified:
    def __repr__(self):
        return f"<Certified {self.alternatives}>"


cdef class ServerEvents:
    cdef void on_request_data(self, bytes data):
        raise TypeError("ServerEvents.on_request_data is not implemented")

    cdef void on_request_end(self, list trailers):
        raise TypeError("ServerEvents.on_request_end is not implemented")

    cdef void on_client_gone(self):
        raise TypeError("ServerEvents.on_client_gone is not implemented")

    cdef void on_client_congested(self):
        raise TypeError("ServerEvents.on_client_congested is not implemented")

    cdef void on_client_drained(self):
        raise TypeError("ServerEvents.on_client_drained is not implemented")


cdef class ServerStream:
    cdef void send_interim(self, int status):
        raise TypeError("ServerStream.send_interim is not implemented")

    cdef void send_head(self, int status, list fields, int64_t length):
        raise TypeError("ServerStream.send_head is not implemented")

    cdef void send_data(self, bytes data):
        raise TypeError("ServerStream.send_data is not implemented")

    cdef void send_end(self, list trailers):
        raise TypeError("ServerStream.send_end is not implemented")

    cdef void cut(self):
        raise TypeError("ServerStream.cut is not implemented")

    cdef void pause(self):
        raise TypeError("ServerStream.pause is not implemented")

    cdef void resume(self):
        raise TypeError("ServerStream.resume is not implemented")

    cdef bint congested(self):
        raise TypeError("ServerStream.congested is not implemented")

    cdef object peer(self):
        raise TypeError("ServerStream.peer is not implemented")


cdef class ClientEvents:
    cdef void on_connection(self, ClientStream stream):
        raise TypeError("ClientEvents.on_connection is not implemented")

    cdef void on_interim(self, int status):
        raise TypeError("ClientEvents.on_interim is not implemented")

    cdef void on_head(self, Head head):
        raise TypeError("ClientEvents.on_head is not implemented")

    cdef void on_data(self, bytes data):
        raise TypeError("ClientEvents.on_data is not implemented")

    cdef void on_end(self, list trailers):
        raise TypeError("ClientEvents.on_end is not implemented")

    cdef void on_failed(self, int failure, str detail):
        raise TypeError("ClientEvents.on_failed is not implemented")

    cdef void on_upstream_congested(self):
        raise TypeError("ClientEvents.on_upstream_congested is not implemented")

    cdef void on_upstream_drained(self):
        raise TypeError("ClientEvents.on_upstream_drained is not implemented")


cdef class ClientStream:
    cdef void send_request(self, bytes method, bytes target, bytes authority, list fields, int64_t length):
        raise TypeError("ClientStream.send_request is not implemented")

    cdef void send_data(self, bytes data):
        raise TypeError("ClientStream.send_data is not implemented")

    cdef void send_end(self, list trailers):
        raise TypeError("ClientStream.send_end is not implemented")

    cdef void cancel(self):
        raise TypeError("ClientStream.cancel is not implemented")

    cdef void discard(self):
        raise TypeError("ClientStream.discard is not implemented")

    cdef void pause(self):
        raise TypeError("ClientStream.pause is not implemented")

    cdef void resume(self):
        raise TypeError("ClientStream.resume is not implemented")

    cdef bint congested(self):
        raise TypeError("ClientStream.congested is not implemented")

    cdef Py_ssize_t unsent(self):
        raise TypeError("ClientStream.unsent is not implemented")


cdef Py_ssize_t outgoing(object transport):
    if transport.is_closing():
        return 0        # whoever waits for it is told in a moment
    return unread(transport)


cdef Py_ssize_t unread(object transport):
    """The kernel says that a socket can be written only when a third of its buffer is free: what a slow peer takes shows
    in what is not acknowledged yet (tcp(7), SIOCOUTQ) long before."""
    cdef int queued = 0
    sock = transport.get_extra_info("socket")
    if sock is None or ioctl(sock.fileno(), TIOCOUTQ, &queued) != 0:
        queued = 0
    return <Py_ssize_t>transport.get_write_buffer_size() + queued


cdef class Acceptor:
    cdef bint hold(self, Py_ssize_t more) noexcept:
        """Every byte of a request that is kept for later counts here, from when it is kept until it is let go."""
        if more > 0 and more > self.buffered_limit - self.buffered:
            return False
        self.buffered += more
        store64(self.counters.buffered, <uint64_t>self.buffered)
        return True

    cdef ServerEvents open(self, ServerStream stream, Head head):
        raise TypeError("Acceptor.open is not implemented")

    cdef bytes refusal(self, int status, str reason):
        raise TypeError("Acceptor.refusal is not implemented")
