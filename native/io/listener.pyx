"""Accepts in batches. A process without free descriptors closes a waiting connection instead of letting it wait."""

from libc.errno cimport EAGAIN, ECONNABORTED, EINTR, EMFILE, ENFILE, ENOBUFS, ENOMEM, errno
from libc.stdint cimport uint32_t, uint64_t
from native.io.clock cimport monotonic_ns
from native.io.posix cimport (
    EPOLLIN, IPPROTO_TCP, SOCK_CLOEXEC, SOCK_NONBLOCK, TCP_NODELAY, TCP_NOTSENT_LOWAT, accept4, close, getsockname,
    setsockopt, sockaddr, sockaddr_storage, socklen_t,
)
from native.io.reactor cimport Reactor
from native.io.stream_socket cimport SocketEvents, StreamSocket, client_of, describe
from native.io.tls cimport TlsContext

from os import O_CLOEXEC, O_RDONLY, open as open_file, strerror

cdef enum:
    BATCH = 64              # connections accepted in one event, so that other descriptors get their turn

# The kernel takes at most this much of an answer that it cannot send yet, and not up to 4 MiB for each client that does
# not read. What it does not take waits in edge, which counts and bounds it.
cdef int UNSENT_LIMIT = 1048576
# How long a process that can neither accept nor drop a connection waits before it tries again.
cdef uint64_t PAUSE_NS = 100_000_000


cdef class AcceptEvents:
    cdef SocketEvents on_accept(self, StreamSocket socket, bint is_secure):
        return None


cdef class AcceptAgain(Timer):
    cdef int fire(self, uint64_t now_ns) except -1:
        cdef Listener listener = self.listener
        if listener.fd < 0 or listener.slot >= 0:
            return 0
        try:
            listener.reactor.watch(listener, EPOLLIN)
        except OSError:
            listener.reactor.deadlines.arm(self, now_ns + PAUSE_NS)


cdef class Listener(Pollable):
    """A listening socket.

    Args:
        reactor: watches it.
        sock: bound; it belongs to this object from now on.
        backlog: connections that may wait to be accepted.
        owner: receives the connections.
        tls: the policy of its connections; None = in the clear.

    Raises:
        OSError: the socket cannot listen, or cannot be watched.
    """
    def __init__(self, Reactor reactor not None, sock, int backlog, AcceptEvents owner not None, TlsContext tls):
        cdef int on = 1
        self.spare_fd = -1
        self.owner = owner
        self.tls = tls
        sock.setblocking(False)
        sock.listen(backlog)
        # accepted sockets inherit both
        setsockopt(sock.fileno(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on))
        setsockopt(sock.fileno(), IPPROTO_TCP, TCP_NOTSENT_LOWAT, &UNSENT_LIMIT, sizeof(UNSENT_LIMIT))
        self.fd = sock.fileno()
        try:
            reactor.watch(self, EPOLLIN)
        except OSError:
            self.fd = -1
            raise
        sock.detach()
        self.again = AcceptAgain.__new__(AcceptAgain)
        self.again.listener = self
        self._keep_spare()

    def __dealloc__(self):
        if self.spare_fd >= 0:
            close(self.spare_fd)

    def __repr__(self):
        return f"<Listener fd={self.fd}>"

    cdef int on_events(self, uint32_t events) except -1:
        cdef StreamSocket connection
        cdef SocketEvents owner
        cdef sockaddr_storage peer
        cdef socklen_t size
        cdef int fd
        for _ in range(<int>BATCH):
            if self.fd < 0:
                return 0
            size = sizeof(peer)
            fd = accept4(self.fd, <sockaddr*>&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC)
            if fd < 0:
                if errno == EMFILE or errno == ENFILE or errno == ENOBUFS or errno == ENOMEM:
                    self._drop_one()
                elif errno == ECONNABORTED or errno == EINTR:
                    continue        # the client has already left
                elif errno != EAGAIN:
                    raise OSError(errno, strerror(errno))
                return 0
            connection = StreamSocket.__new__(StreamSocket)
            connection.fd = fd      # the owner may ask for the peer
            connection.client = client_of(&peer)
            owner = self.owner.on_accept(connection, self.tls is not None)
            if owner is None:
                connection.fd = -1
                close(fd)
                continue
            connection.is_accepted = True
            try:
                connection.start(self.reactor, fd, owner, None if self.tls is None else self.tls.open_session(None))
            except OSError as error:
                owner.on_lost(str(error))       # the kernel cannot watch it, or TLS cannot begin
            except BaseException:
                connection.on_error()
                raise

    cdef int _drop_one(self) except -1:
        """Accept one connection with the spare descriptor and close it; otherwise the event would never end."""
        cdef int fd = -1
        if self.spare_fd >= 0:
            close(self.spare_fd)
            self.spare_fd = -1
            fd = accept4(self.fd, NULL, NULL, SOCK_CLOEXEC)
            if fd >= 0:
                close(fd)
        self._keep_spare()
        if fd < 0:      # another thread was quicker, or the kernel has no memory
            self.reactor.unwatch(self)
            self.reactor.deadlines.arm(self.again, monotonic_ns() + PAUSE_NS)

    cdef int _keep_spare(self) except -1:
        if self.spare_fd < 0:
            try:
                self.spare_fd = open_file("/dev/null", O_RDONLY | O_CLOEXEC)
            except OSError:
                return 0      # the next connection that cannot be accepted tries again

    cdef int on_error(self) except -1:
        return 0          # the next connection may be accepted

    cdef int on_stop(self) except -1:
        self.close()

    cdef int flush(self) except -1:
        return 0          # nothing is written

    def fileno(self):
        """Return the descriptor, or -1 after :meth:`close`."""
        return self.fd

    def address(self):
        """Return the local address and port."""
        cdef sockaddr_storage where
        cdef socklen_t size = sizeof(where)
        if self.fd < 0 or getsockname(self.fd, <sockaddr*>&where, &size) != 0:
            raise OSError("the listener is closed")
        return describe(&where)

    def use_tls(self, TlsContext tls):
        """Use this policy for new connections."""
        self.tls = tls

    def close(self):
        """Stop listening; accepted connections stay open. Idempotent."""
        cdef int fd = self.fd
        if fd < 0:
            return
        self.reactor.unwatch(self)
        self.reactor.deadlines.disarm(self.again)
        self.again.listener = None      # it holds this object
        self.fd = -1
        close(fd)
