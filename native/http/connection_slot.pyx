from native.io.atomics cimport add64

from random import random

# Idle connections that are looked at for one which nothing is on its way to or from. Such a one loses nothing.
cdef int LOOKS = 16
# Ages differ by up to this share, so that connections that began together do not all begin again together.
cdef double JITTER = 0.1


cdef class ConnectionSlot:
    cdef bint take(self, object connection, StreamSocket socket, uint64_t now_ns):
        if len(self.acceptor.open_connections) >= self.acceptor.connection_limit and not self._make_room():
            add64(self.acceptor.counters.turned_away, 1)
            return False
        self.connection = connection
        self.socket = socket
        self.accepted_ns = now_ns
        self.acceptor.open_connections.add(connection)
        add64(self.acceptor.counters.open, 1)
        self.timer = CallbackTimer(connection.check_deadlines)
        self.rest()
        return True

    cdef int limit_age(self, uint64_t now_ns, uint64_t age_ns, uint64_t grace_ns) except -1:
        if not age_ns:
            return 0
        self.retire_ns = now_ns + <uint64_t>(age_ns * (1.0 - JITTER + 2 * JITTER * <double>random()))
        self.cut_ns = self.retire_ns + grace_ns if grace_ns else 0
        self.timer.action = self.check_deadlines

    cdef bint retires(self) noexcept:
        return self.aged or self.acceptor.draining

    def check_deadlines(self, uint64_t now_ns):
        """Let the connection check its deadlines, after its age was checked."""
        cdef object connection = self.connection
        if not self.aged and now_ns >= self.retire_ns:
            self.aged = True
            if self.announces:
                connection.retire()
        if self.cut_ns and now_ns >= self.cut_ns:
            if self.idle:
                connection.retire()
            else:
                connection.kill()
        if self.connection is not None:
            connection.check_deadlines(now_ns)

    cdef int pass_to(self, object connection) except -1:
        self.acceptor.open_connections.discard(self.connection)
        self.acceptor.open_connections.add(connection)
        self.connection = connection
        if not self.retire_ns:
            self.timer.action = connection.check_deadlines

    cdef int give_back(self) except -1:
        if self.connection is None:
            return 0
        self._leave()
        add64(self.acceptor.counters.open, <uint64_t>-1)
        self.acceptor.open_connections.discard(self.connection)
        self.acceptor.coarse.disarm(self.timer)
        self.timer.action = None        # breaks the reference cycle of timer and connection
        self.connection = None

    cdef int rest(self) except -1:
        cdef ConnectionSlot last
        if self.connection is None:
            return 0
        self._leave()
        last = <ConnectionSlot>self.acceptor.idle_last
        self.before = last
        if last is None:
            self.acceptor.idle_first = self
        else:
            last.after = self
        self.acceptor.idle_last = self
        self.idle = True

    cdef int busy(self) except -1:
        self.served = True
        self._leave()

    cdef int _leave(self) except -1:
        """Leave the order of idle connections."""
        if not self.idle:
            return 0
        self.idle = False
        if self.before is None:
            self.acceptor.idle_first = self.after
        else:
            self.before.after = self.after
        if self.after is None:
            self.acceptor.idle_last = self.before
        else:
            self.after.before = self.before
        self.before = None
        self.after = None

    cdef bint _make_room(self):
        """Evict the longest idle connection, one with nothing to be read or written if there is; return whether one is."""
        cdef ConnectionSlot chosen = <ConnectionSlot>self.acceptor.idle_first
        cdef ConnectionSlot slot = chosen
        cdef object connection
        for _ in range(LOOKS):
            if slot is None:
                break
            if slot._is_quiet():
                chosen = slot
                break
            slot = slot.after
        if chosen is None:
            return False
        connection = chosen.connection
        chosen.give_back()
        connection.evict()
        add64(self.acceptor.counters.evicted, 1)
        return True

    cdef bint _is_quiet(self):
        return self.socket.queued == 0 and self.socket.is_silent()

    cdef uint64_t idle_limit(self) noexcept:
        return self.acceptor.idle_ns if self.served else min(self.acceptor.idle_ns, self.acceptor.header_timeout_ns)

    cdef int watch_at(self, uint64_t deadline_ns) except -1:
        if self.retire_ns and not self.aged:
            deadline_ns = min(deadline_ns, self.retire_ns)
        elif self.cut_ns:
            deadline_ns = min(deadline_ns, self.cut_ns)
        if self.connection is not None:
            self.acceptor.coarse.arm(self.timer, deadline_ns)

    cdef int watch_soon(self, uint64_t now_ns, uint64_t longest_ns) except -1:
        self.watch_at(now_ns + min(min(self.acceptor.header_timeout_ns, self.acceptor.client_idle_ns) // 4, longest_ns))
