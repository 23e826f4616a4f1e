from native.io.atomics cimport add64


cdef class ConnectionSlot:
    cdef bint take(self, object connection):
        if len(self.acceptor.open_connections) >= self.acceptor.connection_limit:
            return False
        self.connection = connection
        self.acceptor.open_connections.add(connection)
        add64(self.acceptor.counters.open, 1)
        self.timer = CallbackTimer(connection.check_deadlines)
        return True

    cdef void give_back(self):
        if self.connection is None:
            return
        add64(self.acceptor.counters.open, <uint64_t>-1)
        self.acceptor.open_connections.discard(self.connection)
        self.acceptor.coarse.disarm(self.timer)
        self.timer.action = None        # breaks the reference cycle of timer and connection
        self.connection = None

    cdef void watch_at(self, uint64_t deadline_ns):
        if self.connection is not None:
            self.acceptor.coarse.arm(self.timer, deadline_ns)

    cdef void watch_soon(self, uint64_t now_ns, uint64_t longest_ns):
        self.watch_at(now_ns + min(min(self.acceptor.header_timeout_ns, self.acceptor.client_idle_ns) // 4, longest_ns))
