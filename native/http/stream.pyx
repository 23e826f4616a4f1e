from native.io.atomics cimport store64


cdef class ClientCertificate:
    def __repr__(self):
        return f"<ClientCertificate {self.subject_alt_names}>"


cdef class ServerEvents:
    cdef void on_request_data(self, bytes data):
        return

    cdef void on_request_end(self, list trailers):
        return

    cdef void on_client_gone(self):
        return

    cdef void on_client_congested(self):
        return

    cdef void on_client_drained(self):
        return


cdef class ServerStream:
    cdef void send_interim(self, int status):
        return

    cdef void send_head(self, int status, list fields, int64_t length):
        return

    cdef void send_data(self, bytes data):
        return

    cdef void send_end(self, list trailers):
        return

    cdef void cut(self):
        return

    cdef void pause(self):
        return

    cdef void resume(self):
        return

    cdef bint congested(self):
        return False

    cdef object peer(self):
        return None


cdef class ClientEvents:
    cdef void on_connection(self, ClientStream stream):
        return

    cdef void on_interim(self, int status):
        return

    cdef void on_head(self, Head head):
        return

    cdef void on_data(self, bytes data):
        return

    cdef void on_end(self, list trailers):
        return

    cdef void on_failed(self, int failure, str detail):
        return

    cdef void on_upstream_congested(self):
        return

    cdef void on_upstream_drained(self):
        return


cdef class ClientStream:
    cdef void send_request(self, bytes method, bytes target, bytes authority, list fields, int64_t length):
        return

    cdef void send_data(self, bytes data):
        return

    cdef void send_end(self, list trailers):
        return

    cdef void cancel(self):
        return

    cdef void discard(self):
        return

    cdef void pause(self):
        return

    cdef void resume(self):
        return

    cdef bint congested(self):
        return False

    cdef Py_ssize_t unsent(self):
        return 0

    cdef uint64_t heard_ns(self):
        return 0


cdef class Acceptor:
    cdef bint hold(self, Py_ssize_t more) noexcept:
        """Reserve memory for ``more`` bytes of a request; a negative number releases it."""
        if more > 0 and more > self.buffered_limit - self.buffered:
            return False
        self.buffered += more
        store64(self.counters.buffered, <uint64_t>self.buffered)
        return True

    cdef ServerEvents open(self, ServerStream stream, Head head):
        return None

    cdef tuple refusal(self, int status, str reason):
        return [], b""
