"""Connects in the reactor: while an address does not answer, the next one is tried too; the first to answer wins."""

from libc.errno cimport EINPROGRESS, EINTR, EINVAL, EMFILE, errno
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset
from native.io.clock cimport monotonic_ns
from native.io.posix cimport (
    AF_INET6, EPOLLOUT, IPPROTO_TCP, SO_ERROR, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM, SOL_SOCKET, TCP_NODELAY, close,
    connect, getsockopt, htons, inet_pton, setsockopt, sockaddr, sockaddr_in, sockaddr_in6, sockaddr_storage, socket,
    socklen_t,
)

from os import strerror

# RFC 8305 5: how long an address may be silent before the next one is tried too.
cdef uint64_t ATTEMPT_DELAY_NS = 250_000_000


cdef object failed(int number):
    return OSError(number, strerror(number))


cdef class Trial(Pollable):
    cdef int start(self, Connector owner, object address) except -1:
        """Begin to connect; OSError when it fails at once."""
        cdef sockaddr_storage where
        cdef socklen_t size
        cdef int on = 1
        cdef bytes host
        self.owner = owner
        self.address = address
        family, text = address
        host = text.partition("%")[0].encode()
        memset(&where, 0, sizeof(where))
        where.ss_family = family
        if family == AF_INET6:
            (<sockaddr_in6*>&where).sin6_port = htons(<unsigned short>owner.port)
            size = sizeof(sockaddr_in6)
            known = inet_pton(family, host, &(<sockaddr_in6*>&where).sin6_addr)
        else:
            (<sockaddr_in*>&where).sin_port = htons(<unsigned short>owner.port)
            size = sizeof(sockaddr_in)
            known = inet_pton(family, host, &(<sockaddr_in*>&where).sin_addr)
        if known != 1:
            raise failed(EINVAL)
        self.fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
        if self.fd < 0:
            raise failed(errno)
        try:
            if self.fd >= owner.highest_fd:
                raise failed(EMFILE)
            setsockopt(self.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on))
            if connect(self.fd, <sockaddr*>&where, size) != 0 and errno != EINPROGRESS and errno != EINTR:
                raise failed(errno)
            owner.reactor.watch(self, EPOLLOUT)
        except OSError:
            close(self.fd)
            self.fd = -1
            raise
        return 0

    cdef int on_events(self, uint32_t events) except -1:
        cdef int error = 0
        cdef socklen_t size = sizeof(error)
        cdef Connector owner = self.owner
        getsockopt(self.fd, SOL_SOCKET, SO_ERROR, &error, &size)
        if error:
            self._end()
            owner.miss(self, failed(error))
        else:
            owner.take(self)

    cdef int flush(self) except -1:
        return 0          # nothing is written before on_open

    cdef int on_error(self) except -1:
        cdef Connector owner = self.owner
        self._end()
        owner.miss(self, OSError("an error of our own"))

    cdef int on_stop(self) except -1:
        self._end()

    cdef int _end(self) except -1:
        cdef int fd = self.fd
        if fd >= 0:
            self.reactor.unwatch(self)
            self.fd = -1
            close(fd)


cdef class NextAddress(Timer):
    cdef int fire(self, uint64_t now_ns) except -1:
        cdef Connector owner = self.owner
        if owner is not None:
            owner.try_next()


cdef class ConnectDeadline(Timer):
    cdef int fire(self, uint64_t now_ns) except -1:
        cdef Connector owner = self.owner       # a reference: the call may end with the connector
        if owner is not None:
            owner.time_out()


cdef class ConnectedEvents(SocketEvents):
    cdef int on_open(self, StreamSocket socket) except -1:
        cdef Connector owner = self.owner
        owner.hand_over(socket)

    cdef int on_bytes(self, const char* data, Py_ssize_t size) except -1:
        return 0          # no bytes come before on_open, which gives the socket another owner

    cdef int on_eof(self, bint truncated) except -1:
        return 0

    cdef int on_lost(self, str reason) except -1:
        cdef Connector owner = self.owner
        owner.socket = None
        owner.miss(None, OSError(reason if reason is not None else "closed"))

    cdef int on_write_paused(self) except -1:
        return 0

    cdef int on_write_resumed(self) except -1:
        return 0

    cdef int on_deferred(self) except -1:
        return 0


cdef class Connector(Deferred):
    """One connection that is being opened. Exactly one of the two callbacks is called, once, and not before
    :meth:`start` has returned, unless :meth:`cancel` comes first.

    Args:
        reactor: watches the sockets; its deadlines hold those of the connection.
        addresses: (address family, numeric address) pairs in the order of preference, the families alternating.
        port: the port.
        tls: the policy of the connection; None = in the clear.
        server_name: for SNI and the check of the certificate; an address counts as one. None = neither.
        deadline_ns: monotonic nanoseconds, for all addresses and the handshake together.
        highest_fd: a socket with this descriptor or a higher one is closed again: the last ones are kept.
        on_connected: returns the events of the connection, which get ``on_open`` next.
        on_failed: gets ((family, address), error) of every address that failed, a handshake's failure last, and whether
            the deadline passed.
        preface: is exchanged before TLS; None = nothing. A target behind a proxy has the proxy's addresses and port.
    """
    def __init__(
        self, Reactor reactor not None, addresses, int port, TlsContext tls, bytes server_name, uint64_t deadline_ns,
        int highest_fd, on_connected, on_failed, Preface preface=None,
    ):
        self.reactor = reactor
        self.addresses = list(addresses)
        self.trials = []
        self.failures = []
        self.port = port
        self.tls = tls
        self.server_name = server_name
        self.preface = preface
        self.highest_fd = highest_fd
        self.on_connected = on_connected
        self.on_failed = on_failed
        self.next_timer = NextAddress.__new__(NextAddress)
        self.next_timer.owner = self
        self.deadline = ConnectDeadline.__new__(ConnectDeadline)
        self.deadline.owner = self
        reactor.deadlines.arm(self.deadline, deadline_ns)

    def __repr__(self):
        return f"<Connector port={self.port} trials={len(self.trials)} left={len(self.addresses)}>"

    def start(self):
        """Begin with the first address."""
        self.try_next()

    def cancel(self):
        """Give up without a callback. Idempotent."""
        self._end()

    cdef int try_next(self) except -1:
        """Try addresses until one neither fails at once nor is the last."""
        cdef Trial trial
        while not self.is_over and self.addresses:
            address = self.addresses.pop(0)
            trial = Trial.__new__(Trial)
            try:
                trial.start(self, address)
            except OSError as error:
                self.failures.append((address, error))
                continue
            self.trials.append(trial)
            if self.addresses:
                self.reactor.deadlines.arm(self.next_timer, monotonic_ns() + ATTEMPT_DELAY_NS)
            return 0
        if not self.is_over and not self.trials and self.socket is None:
            self.reactor.defer(self)

    cdef int on_deferred(self) except -1:
        """Every address has failed."""
        if not self.is_over:
            failures = self.failures
            callback = self.on_failed
            self._end()
            callback(failures, False)

    cdef int miss(self, Trial trial, object error) except -1:
        if self.is_over:
            return 0
        if trial is not None:
            self.trials.remove(trial)
            self.failures.append((trial.address, error))
            self.try_next()
        else:
            self.failures.append((None, error))
            self.reactor.defer(self)

    cdef int take(self, Trial trial) except -1:
        """Keep the address that has answered, give up the others, and begin the TLS handshake, if any."""
        cdef StreamSocket socket = StreamSocket.__new__(StreamSocket)
        cdef ConnectedEvents events = ConnectedEvents.__new__(ConnectedEvents)
        cdef int fd = trial.fd
        events.owner = self
        self.reactor.unwatch(trial)
        trial.fd = -1
        self.trials.remove(trial)
        self.addresses = []
        self._end_trials()
        self.socket = socket
        socket.preface = self.preface
        try:
            socket.start(
                self.reactor, fd, events, None if self.tls is None else self.tls.open_session(self.server_name)
            )
        except OSError as error:
            self.socket = None
            self.miss(None, error)

    cdef int hand_over(self, StreamSocket socket) except -1:
        cdef SocketEvents owner
        callback = self.on_connected
        self.socket = None
        self._end()
        owner = callback()
        socket.events = owner
        owner.on_open(socket)

    cdef int time_out(self) except -1:
        failures = self.failures
        callback = self.on_failed
        if not self.is_over:
            self._end()
            callback(failures, True)

    def _end_trials(self):
        trials = self.trials
        self.trials = []
        for trial in trials:
            (<Trial>trial)._end()
        self.reactor.deadlines.disarm(self.next_timer)

    cdef int _end(self) except -1:
        """Drop all references: the callbacks refer to the pool, which may refer to this object."""
        if self.is_over:
            return 0
        self.is_over = True
        self._end_trials()
        self.reactor.deadlines.disarm(self.deadline)
        self.next_timer.owner = None
        self.deadline.owner = None
        self.addresses = []
        self.on_connected = None
        self.on_failed = None
        if self.socket is not None:
            self.socket.abort()
            self.socket = None
