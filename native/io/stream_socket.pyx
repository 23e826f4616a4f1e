"""Reads and writes one non-blocking socket on behalf of its :class:`SocketEvents`.

Written bytes are queued, and the queue is sent with as few system calls as possible after the batch that filled it.
The loss of a connection is reported after the turn, never inside a call of its owner. After a failed write the socket
is still read to its end, because the peer may have sent something before.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcmp, memcpy
from native.io.atomics cimport add64
from native.io.posix cimport (
    AF_INET, AF_INET6, EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, INET6_ADDRSTRLEN, MSG_DONTWAIT, MSG_NOSIGNAL, MSG_PEEK,
    SHUT_WR, SO_LINGER, SOL_SOCKET, TIOCOUTQ, close, getpeername, inet_ntop, inet_pton, ioctl, iovec, linger, ntohs, recv, send,
    setsockopt, shutdown, sockaddr, sockaddr_in, sockaddr_in6, sockaddr_storage, socklen_t, writev,
)
from native.io.preface cimport Preface
from native.io.tls cimport TLS_ENDED, TLS_TRUNCATED, TLS_WAITS, TlsSession

from os import strerror, urandom

cdef enum:
    PARTS = 64              # items of the queue in one call
    SMALL_WRITE = 1024      # smaller items are joined while the kernel takes none
    RECORD = 16384          # the most that one TLS record holds
    PREFACE = 16384         # bytes of a preface in one read
    JOINED_WRITE = 4096     # up to here the queue is written as one piece

cdef char[JOINED_WRITE] JOINED


cdef class SocketEvents(Deferred):
    cdef int on_open(self, StreamSocket socket) except -1:
        return 0

    cdef int on_bytes(self, const char* data, Py_ssize_t size) except -1:
        return 0

    cdef int on_eof(self, bint truncated) except -1:
        return 0

    cdef int on_lost(self, str reason) except -1:
        return 0

    cdef int on_write_paused(self) except -1:
        return 0

    cdef int on_write_resumed(self) except -1:
        return 0


cdef class StreamSocket(Pollable):
    cdef start(self, Reactor reactor, int fd, SocketEvents events, TlsSession tls):
        """Watch a connected descriptor, which belongs to this object from now on; with ``tls`` the handshake comes first.

        Without TLS and without a preface ``on_open`` is called before this returns.

        Raises:
            OSError: the descriptor cannot be watched; it is closed.
        """
        self.fd = fd
        self.events = events
        self.tls = tls
        try:
            if tls is not None:
                tls.attach(fd)
            reactor.watch(self, EPOLLIN)
        except OSError:
            self.fd = -1
            self.events = None
            close(fd)
            raise
        if self.preface is None:
            self._begin()
        elif self.preface.greeting is None:
            self._read_preface()
        elif send(fd, PyBytes_AS_STRING(self.preface.greeting), PyBytes_GET_SIZE(self.preface.greeting), MSG_NOSIGNAL) != (
            PyBytes_GET_SIZE(self.preface.greeting)
        ):
            self._lose(strerror(errno))     # a new connection takes so few bytes at once, or none at all

    cdef int _begin(self) except -1:
        cdef SocketEvents events = self.events
        if self.tls is None:
            self.is_attached = True
            events.on_open(self)
        else:
            self.is_secure = True
            self._handshake()

    # --- events ------------------------------------------------------------------------------------------------------
    cdef int on_events(self, uint32_t events) except -1:
        if self.preface is not None:
            self._read_preface()
            return 0
        if self.tls is not None and not self.tls.is_established:
            self._handshake()
            return 0
        if events & <uint32_t>EPOLLOUT:
            self.is_blocked = False
            self.flush()
            if self.fd < 0:
                return 0
            if self.tls is not None and self.tls.wants:
                self.tls.wants = 0
                events |= EPOLLIN
        if not events & <uint32_t>(EPOLLIN | EPOLLERR | EPOLLHUP):
            return 0
        if self.is_closing:
            if events & <uint32_t>(EPOLLERR | EPOLLHUP):
                self._lose("the connection was reset")
            else:
                self._update_interest()
        elif self.read_paused:
            if events & <uint32_t>(EPOLLERR | EPOLLHUP) and self.is_accepted:
                self._lose("the connection was reset")
            elif events & <uint32_t>(EPOLLERR | EPOLLHUP) and not self.is_blocked:
                # epoll reports these events although none is watched. resume_reading() reads what has come.
                self.reactor.unwatch(self)
            else:
                self._update_interest()
        elif self.tls is None:
            self._receive()
        else:
            self._receive_tls()

    cdef int on_deferred(self) except -1:
        cdef SocketEvents events = self.events
        if self.is_lost:
            self.events = None
            self.is_attached = False
            if events is not None:
                events.on_lost(self.lost_reason)
        elif self.fd >= 0 and self.tls is not None and not self.read_paused and not self.is_closing:
            if self.tls.is_established:
                self._receive_tls()     # OpenSSL holds bytes that the kernel does not report
            else:
                self._handshake()

    cdef int on_error(self) except -1:
        self._lose("an error of our own")

    cdef int on_stop(self) except -1:
        self._lose(None)

    cdef int _read_preface(self) except -1:
        """Read the preface and nothing behind it, then begin with TLS or with the first bytes."""
        cdef Preface preface = self.preface
        cdef Py_ssize_t size = recv(self.fd, self.reactor.scratch, PREFACE, MSG_PEEK)
        if size < 0:
            if errno != EAGAIN and errno != EINTR:
                self._lose(strerror(errno))
            return 0
        size = preface.feed(self.reactor.scratch, size)
        if size == 0 or preface.is_bad:
            self._lose(preface.fault if preface.is_bad else "the connection was closed before anything came")
            return 0
        recv(self.fd, self.reactor.scratch, size, 0)
        if preface.is_complete:
            self.preface = None
            self.is_secure = preface.is_secure
            if preface.source is not None:
                self.peer_address = preface.source
                self.client = client_of_text(<str>preface.source[0])
            self._begin()

    cdef int _receive(self) except -1:
        cdef Py_ssize_t size = recv(self.fd, self.reactor.scratch, self.reactor.read_most, 0)
        cdef SocketEvents events = self.events      # a callback may give the socket another owner
        if size > 0:
            events.on_bytes(self.reactor.scratch, size)
        elif size == 0:
            self._end_reading(False)
        elif errno != EAGAIN and errno != EINTR:
            self._lose(strerror(errno))

    cdef int _receive_tls(self) except -1:
        """Read the records that have come, and pass their content on in one piece."""
        cdef Py_ssize_t size = 0
        cdef Py_ssize_t total = 0
        cdef Py_ssize_t most = self.reactor.read_most
        cdef SocketEvents events = self.events
        self.tls.wants = 0
        while total <= most - <Py_ssize_t>RECORD:
            size = self.tls.read(self.reactor.scratch + total, most - total)
            if size <= 0:
                break
            total += size
            if not self.tls.holds_bytes():
                break
        if total:
            events.on_bytes(self.reactor.scratch, total)
            if self.fd < 0 or self.is_closing:
                return 0
        if size > 0:
            if self.tls.holds_bytes() and not self.read_paused:
                self.reactor.defer(self)
        elif size == TLS_WAITS:
            self._update_interest()
        elif size == TLS_ENDED or size == TLS_TRUNCATED:
            self._end_reading(size == TLS_TRUNCATED)
        else:
            self._lose(self.tls.error)

    cdef int _end_reading(self, bint truncated) except -1:
        """The peer has closed its direction: close this side too, after the queue is written."""
        cdef SocketEvents events = self.events
        events.on_eof(truncated)
        self.close()

    cdef int _handshake(self) except -1:
        cdef int result = self.tls.handshake()
        cdef SocketEvents events = self.events
        self.reactor.took_long = True
        if result == 0:
            self.is_attached = True
            self._update_interest()
            events.on_open(self)
            if self.fd >= 0 and not self.is_closing and self.tls.holds_bytes():
                self.reactor.defer(self)
        elif result == TLS_WAITS:
            self._update_interest()
        else:
            self._lose(self.tls.error)

    # --- writing -----------------------------------------------------------------------------------------------------
    cdef bint is_silent(self):
        cdef char byte = 0
        return self.fd >= 0 and recv(self.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 and errno == EAGAIN

    cdef int write(self, bytes data) except -1:
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        cdef SocketEvents events
        if self.fd < 0 or self.is_closing or size == 0:
            return 0
        self.written += size
        if self.bytes_out != NULL:
            add64(self.bytes_out, size)
        if self.write_failed:
            return 0
        if self.first is None:
            self.first = data
            self.offset = 0
        elif self.rest is None:
            self.rest = [data]
        elif self.is_blocked and self.rest and size < SMALL_WRITE and PyBytes_GET_SIZE(<bytes>self.rest[-1]) < SMALL_WRITE:
            # an object for each of many small writes takes more memory than its bytes
            self.rest[-1] = <bytes>self.rest[-1] + data
        else:
            self.rest.append(data)
        self.queued += size
        if self.is_blocked:
            pass
        elif self.queued > <Py_ssize_t>WRITE_HIGH:
            self.flush()
        else:
            self.reactor.flush_later(self)
        if self.queued > <Py_ssize_t>WRITE_HIGH and not self.write_paused:
            self.write_paused = True
            events = self.events
            if events is not None:
                events.on_write_paused()

    cdef int flush(self) except -1:
        cdef int result = 0
        if self.fd < 0 or self.is_blocked or self.tls is not None and not self.tls.is_established:
            return 0
        while self.queued and result == 0:
            result = self._write_plain() if self.tls is None else self._write_tls()
        if result < 0:
            self._fail_writing()
        else:
            self.is_blocked = result > 0
            self._after_writing()

    cdef int _write_plain(self):
        """Write the head of the queue; 0 = written, 1 = the kernel takes no more, -1 = failed (errno)."""
        cdef iovec[PARTS] parts
        cdef int count = 1
        cdef Py_ssize_t size
        cdef Py_ssize_t wanted = PyBytes_GET_SIZE(self.first) - self.offset
        if not self.rest:
            size = send(self.fd, PyBytes_AS_STRING(self.first) + self.offset, wanted, MSG_NOSIGNAL)
        elif self.queued <= <Py_ssize_t>JOINED_WRITE:
            # a copy of so few bytes costs less than the kernel's work for each part
            memcpy(JOINED, PyBytes_AS_STRING(self.first) + self.offset, wanted)
            for item in self.rest:
                memcpy(JOINED + wanted, PyBytes_AS_STRING(<bytes>item), PyBytes_GET_SIZE(<bytes>item))
                wanted += PyBytes_GET_SIZE(<bytes>item)
            size = send(self.fd, JOINED, wanted, MSG_NOSIGNAL)
        else:
            parts[0].iov_base = PyBytes_AS_STRING(self.first) + self.offset
            parts[0].iov_len = wanted
            for item in self.rest:
                if count == PARTS:
                    break
                parts[count].iov_base = PyBytes_AS_STRING(<bytes>item)
                parts[count].iov_len = PyBytes_GET_SIZE(<bytes>item)
                wanted += PyBytes_GET_SIZE(<bytes>item)
                count += 1
            size = writev(self.fd, parts, count)
        if size < 0:
            return 1 if errno == EAGAIN or errno == EINTR else -1
        self._advance(size)
        return 0 if size == wanted else 1

    cdef int _write_tls(self):
        """Write the head of the queue as one record or more; the same results."""
        cdef Py_ssize_t size
        if not self.rest:
            size = self.tls.write(PyBytes_AS_STRING(self.first) + self.offset, PyBytes_GET_SIZE(self.first) - self.offset)
        else:
            size = self.tls.write_joined(self.first, self.offset, self.rest)
        if size > 0:
            self._advance(size)
            return 0
        return 1 if size == TLS_WAITS else -1

    cdef int _advance(self, Py_ssize_t size) except -1:
        """Take ``size`` written bytes off the queue."""
        cdef Py_ssize_t left
        cdef Py_ssize_t used = 0
        self.queued -= size
        if self.queued == 0:
            self.first = None
            self.rest = None
            return 0
        left = PyBytes_GET_SIZE(self.first) - self.offset
        if size < left:
            self.offset += size
            return 0
        size -= left
        while size >= PyBytes_GET_SIZE(<bytes>self.rest[used]):
            size -= PyBytes_GET_SIZE(<bytes>self.rest[used])
            used += 1
        self.first = <bytes>self.rest[used]
        self.offset = size
        del self.rest[:used + 1]

    cdef int _after_writing(self) except -1:
        cdef SocketEvents events
        if self.queued == 0:
            if self.ends_writing:
                if self.tls is None:
                    shutdown(self.fd, SHUT_WR)
                    self.ends_writing = False
                else:
                    self.ends_writing = self.is_blocked = not self.tls.say_goodbye()
            if self.is_closing:
                if self.tls is None or self.tls.say_goodbye():
                    self._lose(None)
                    return 0
                self.is_blocked = True      # without it the peer would take what it has for a part
        self._update_interest()
        if self.write_paused and self.queued <= <Py_ssize_t>WRITE_LOW:
            self.write_paused = False
            events = self.events
            if events is not None:
                events.on_write_resumed()

    cdef int _fail_writing(self) except -1:
        """A write has failed: read what the peer sent before, up to its end, and then close the connection."""
        cdef str reason = strerror(errno) if self.tls is None else self.tls.error
        if self.is_closing or self.is_accepted or self.tls is not None and not self.tls.may_read_on:
            self._lose(reason)
            return 0
        self.write_failed = True
        self.queued = 0
        self.first = None
        self.rest = None
        self._update_interest()

    # --- the state of the descriptor ---------------------------------------------------------------------------------
    cdef int _update_interest(self) except -1:
        cdef uint32_t wanted = 0
        if self.fd < 0:
            return 0
        if not self.read_paused and not self.is_closing:
            wanted |= EPOLLIN
        if self.is_blocked:
            wanted |= EPOLLOUT
        if self.tls is not None and self.tls.wants:
            # Input would be reported again and again while OpenSSL cannot go on before it has written.
            wanted = wanted & ~<uint32_t>EPOLLIN | self.tls.wants
        if self.slot < 0:
            try:
                self.reactor.watch(self, wanted)
            except OSError as error:
                self._lose(str(error))
        elif self.interest != wanted:
            self.reactor.change(self, wanted)

    cdef int _lose(self, str reason) except -1:
        """Close the descriptor; the owner is told after the turn."""
        cdef int fd = self.fd
        if fd < 0:
            return 0
        self.reactor.forget(self)
        self.fd = -1
        if self.tls is not None:
            self.tls.detach()
        close(fd)
        self.is_lost = True
        self.lost_reason = reason
        self.queued = 0
        self.first = None
        self.rest = None
        self.reactor.defer(self)

    cdef Py_ssize_t occupied(self):
        return self.queued + self.offset if self.first is not None else 0

    cdef int trim(self) except -1:
        if self.first is not None and self.offset >= <Py_ssize_t>WRITE_HIGH:
            self.first = self.first[self.offset:]
            self.offset = 0

    cdef bint is_open(self):
        return self.fd >= 0 and self.is_attached and not self.is_closing

    cdef int write_eof(self) except -1:
        if self.fd >= 0 and not self.is_closing:
            self.ends_writing = True
            if not self.is_blocked:
                self.flush()

    cdef int close(self) except -1:
        if self.fd < 0 or self.is_closing:
            return 0
        self.is_closing = True
        if self.write_failed:
            self._lose("the connection was reset")
        elif self.tls is not None and not self.tls.is_established:
            self._lose(None)
        elif self.is_blocked:
            self._update_interest()
        else:
            self.reactor.flush_later(self)

    cdef int abort(self) except -1:
        self._lose(None)

    cdef int reset(self) except -1:
        cdef linger now
        if self.fd >= 0:
            now.l_onoff = 1
            now.l_linger = 0
            setsockopt(self.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now))
            self._lose(None)

    cdef int pause_reading(self) except -1:
        self.read_paused = self.fd >= 0     # bytes that arrive from now on stay in the kernel

    cdef bint resume_reading(self):
        if not self.read_paused or self.fd < 0:
            return False
        self.read_paused = False
        self._update_interest()
        if self.tls is not None and self.tls.is_established and self.tls.holds_bytes():
            self.reactor.defer(self)
        return True

    # --- what the peer has taken -------------------------------------------------------------------------------------
    cdef int mark_progress(self) except -1:
        self.marked = True

    cdef bint has_progressed(self):
        cdef int64_t taken
        cdef bint more
        if self.fd < 0:
            return False
        taken = self.count_acked()
        more = taken > self.taken and not self.marked
        if taken > self.taken or self.marked:
            self.taken = taken
            self.marked = False
        return more

    cdef int64_t count_acked(self):
        """Count what the peer has acknowledged, over TLS with records and handshake, as the kernel counts what it holds."""
        cdef int64_t sent = self.written - self.queued if self.tls is None else self.tls.sent()
        return sent - self._unsent()

    cdef int _unsent(self) noexcept:
        cdef int unsent = 0
        return unsent if self.fd >= 0 and ioctl(self.fd, TIOCOUTQ, &unsent) == 0 else 0

    cdef Py_ssize_t count_unacked(self):
        """Count what the peer has not acknowledged.

        The kernel reports a socket as writable only when a third of its buffer is free. The
        progress of a slow peer shows earlier, in the bytes that are not acknowledged yet (tcp(7), SIOCOUTQ).
        Over TLS the kernel's figure includes the framing of records, a few bytes in a thousand. A record that the kernel
        has in part is still in the queue, and does not count twice."""
        cdef int64_t unsent = self._unsent()
        if self.fd < 0:
            return 0
        if self.tls is not None and self.queued:
            unsent = max(unsent - (self.tls.sent() - self.tls.sent_whole), 0)
        return self.queued + <Py_ssize_t>unsent

    cdef Py_ssize_t count_pending(self):
        return self.count_unacked() if self.is_open() else 0     # a closing socket reports its end in a moment

    cdef tuple peer(self):
        cdef sockaddr_storage address
        cdef socklen_t size = sizeof(address)
        if self.peer_address is None and self.fd >= 0:
            if getpeername(self.fd, <sockaddr*>&address, &size) == 0:
                self.peer_address = describe(&address)
        return self.peer_address


cdef tuple describe(const sockaddr_storage* address):
    cdef char[INET6_ADDRSTRLEN] text
    cdef int port = 0
    text[0] = 0
    if address.ss_family == AF_INET:
        inet_ntop(AF_INET, &(<const sockaddr_in*>address).sin_addr, text, INET6_ADDRSTRLEN)
        port = ntohs((<const sockaddr_in*>address).sin_port)
    elif address.ss_family == AF_INET6:
        inet_ntop(AF_INET6, &(<const sockaddr_in6*>address).sin6_addr, text, INET6_ADDRSTRLEN)
        port = ntohs((<const sockaddr_in6*>address).sin6_port)
    return text.decode("ascii"), port


cdef uint64_t SALT = int.from_bytes(urandom(8), "little") | 1
cdef const unsigned char* MAPPED = <const unsigned char*>b"\0\0\0\0\0\0\0\0\0\0\xff\xff"   # RFC 4291 2.5.5.2
cdef const unsigned char* LOOPBACK = <const unsigned char*>b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1"


cdef uint64_t client_of(const sockaddr_storage* address) noexcept nogil:
    cdef const unsigned char* p
    cdef uint64_t site = 0
    if address.ss_family == AF_INET:
        p = <const unsigned char*>&(<const sockaddr_in*>address).sin_addr
        return hash_of_ipv4(p)
    if address.ss_family != AF_INET6:
        return 0
    p = <const unsigned char*>&(<const sockaddr_in6*>address).sin6_addr
    if memcmp(p, MAPPED, 12) == 0:
        return hash_of_ipv4(p + 12)
    if memcmp(p, LOOPBACK, 16) == 0:
        return 0
    memcpy(&site, p, 8)
    return mixed(site ^ <uint64_t>1 << 63)


cdef uint64_t hash_of_ipv4(const unsigned char* p) noexcept nogil:
    cdef uint64_t number = 0
    if p[0] == 127:
        return 0
    memcpy(&number, p, 4)
    return mixed(number)


cdef uint64_t mixed(uint64_t number) noexcept nogil:
    """murmur3's finalizer, salted; never 0."""
    number = (number ^ SALT) * <uint64_t>0xFF51AFD7ED558CCD
    number = (number ^ number >> 33) * <uint64_t>0xC4CEB9FE1A85EC53
    return number ^ number >> 33 | <uint64_t>1 << 32


cdef uint64_t client_of_text(str address):
    cdef sockaddr_storage found
    cdef bytes text = address.encode()
    if inet_pton(AF_INET, PyBytes_AS_STRING(text), &(<sockaddr_in*>&found).sin_addr) == 1:
        found.ss_family = AF_INET
    elif inet_pton(AF_INET6, PyBytes_AS_STRING(text), &(<sockaddr_in6*>&found).sin6_addr) == 1:
        found.ss_family = AF_INET6
    else:
        return 0
    return client_of(&found)


DETACHED = StreamSocket.__new__(StreamSocket)
