"""Fuzzes the server's side of HTTP/2 and TLS in one process: sockets, reactor, sessions and streams as in a worker.

tests/native/test_wire_fuzz.py copies this module beside them, compiles all under sanitizers and runs it. An execution is
one connection over a pair of sockets. Without TLS its bytes are mutated HTTP/2. With TLS the peer is a TlsSession, which
resumes sessions, and either what it says within TLS is mutated or a piece of what goes over the wire, either way."""

import time

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memmove
from native.codec.head cimport Head
from native.http.listen_policy cimport ListenPolicy
from native.http.stream cimport Acceptor, ServerEvents, ServerStream
from native.io.clock cimport monotonic_ns
from native.io.listener cimport AcceptEvents
from native.io.posix cimport SOCK_NONBLOCK, close, recv, send
from native.io.reactor cimport Reactor
from native.io.stream_socket cimport SocketEvents, StreamSocket
from native.io.timer_wheel cimport Wheel
from native.io.tls cimport TlsContext, TlsSession

from native.http.protocol_detect import AcceptedConnections

cdef extern from *:
    """
    #include <sys/socket.h>
    extern int edge_recording;
    extern int edge_news(void);
    extern int edge_reached(void);
    """
    int edge_recording
    int edge_news()
    int edge_reached()
    int socketpair(int family, int kind, int protocol, int* pair)
    int AF_UNIX, SOCK_STREAM, MSG_NOSIGNAL

cdef enum:
    LONGEST = 8192              # bytes of an input
    PIECE = 65536               # ... and of what is carried at once
    STEPS = 12                  # of a connection over TLS: a handshake takes four
    ENDINGS = 16                # turns in which a connection must be gone

cdef uint64_t STATE             # of the generator
cdef char[PIECE] CARRIED


cdef inline uint64_t draw() noexcept:
    """Return the next number of xorshift64* (Vigna 2016)."""
    global STATE
    STATE ^= STATE >> 12
    STATE ^= STATE << 25
    STATE ^= STATE >> 27
    return STATE * <uint64_t>0x2545F4914F6CDD1D


cdef inline Py_ssize_t below(Py_ssize_t limit) noexcept:
    return <Py_ssize_t>((draw() >> 16) % <uint64_t>limit)


cdef class Answers(ServerEvents):
    """Answers a request when it is complete, with a body of its own length, and trailers now and then."""

    cdef ServerStream stream
    cdef Py_ssize_t size

    cdef int on_request_data(self, bytes data) except -1:
        self.size += PyBytes_GET_SIZE(data)
        return 0

    cdef int on_request_end(self, list trailers) except -1:
        if self.stream is not None:
            self.stream.send_head(200, [(b"content-type", b"text/plain")], -1)
            self.stream.send_data(b"x" * self.size)
            self.stream.send_end([(b"x-sum", b"1")] if trailers is not None else None)
        return 0

    cdef int on_client_gone(self) except -1:
        self.stream = None
        return 0


cdef class Served(Acceptor):
    """A data plane that answers by itself."""

    cdef uint64_t[8] counts
    cdef readonly uint64_t opened   # requests

    def __init__(self, Reactor reactor):
        self.counters.accepted = &self.counts[0]
        self.counters.open = &self.counts[1]
        self.counters.evicted = &self.counts[2]
        self.counters.turned_away = &self.counts[3]
        self.counters.malformed = &self.counts[4]
        self.counters.bytes_in = &self.counts[5]
        self.counters.bytes_out = &self.counts[6]
        self.counters.buffered = &self.counts[7]
        self.coarse = Wheel(monotonic_ns(), 1_000_000_000, 512)
        self.reactor = reactor
        self.header_bytes = 4096
        self.header_count = 20
        self.idle_ns = self.header_timeout_ns = self.body_timeout_ns = self.client_idle_ns = 60_000_000_000
        self.open_connections = set()
        self.connection_limit = 100
        self.buffered_limit = 1 << 26
        self.set_patience()

    @property
    def malformed(self):
        """Requests and connections that were refused for their framing."""
        return self.counts[4]

    cdef ServerEvents open(self, ServerStream stream, Head head):
        cdef Answers answers = Answers.__new__(Answers)
        answers.stream = stream
        self.opened += 1
        return answers

    cdef tuple refusal(self, int status, str reason):
        return [], b"no"


cdef Py_ssize_t put(char* data, Py_ssize_t size, Py_ssize_t at, Py_ssize_t gone, const char* new, Py_ssize_t more) noexcept:
    """Replace ``gone`` bytes with others, if the result is not too long; return the size."""
    if size - gone + more > LONGEST:
        return size
    memmove(data + at + more, data + at + gone, size - at - gone)
    memcpy(data + at, new, more)
    return size - gone + more


cdef Py_ssize_t mutate(char* data, Py_ssize_t size, list tokens) except -1:
    """Change a few bytes or frames; return the new size."""
    cdef char[64] held
    cdef bytes other
    cdef Py_ssize_t at
    cdef Py_ssize_t run
    cdef int kind
    for _ in range(1 + below(4)):
        kind = <int>below(7)
        at = below(size + 1)
        run = min(size - at, 1 + below(12))
        if kind == 0 and at < size:
            data[at] = <char>below(256)
        elif kind == 1 and at < size:
            data[at] ^= <char>(1 << below(8))
        elif kind == 2:
            size = put(data, size, at, run, held, 0)
        elif kind < 5:
            other = <bytes>tokens[below(len(tokens))]
            size = put(data, size, at, run if kind == 4 else 0, PyBytes_AS_STRING(other), PyBytes_GET_SIZE(other))
        elif kind == 5:
            run = min(size - at, <Py_ssize_t>(1 + below(60)))
            memcpy(held, data + at, run)
            size = put(data, size, below(size + 1), 0, held, run)
        elif at and below(4) == 0:
            size = at
    return size


cdef Py_ssize_t build(char* data, list frames, list corpus, list tokens) except -1:
    """Write an input: an earlier one or frames in some order behind the preface, with some bytes changed."""
    cdef Py_ssize_t size = 0
    cdef bytes part
    if corpus and below(2):
        part = <bytes>corpus[below(len(corpus))]
        size = put(data, 0, 0, 0, PyBytes_AS_STRING(part), PyBytes_GET_SIZE(part))
    else:
        part = <bytes>frames[0]         # the preface and SETTINGS
        size = put(data, 0, 0, 0, PyBytes_AS_STRING(part), PyBytes_GET_SIZE(part))
        for _ in range(1 + below(8)):
            part = <bytes>frames[below(len(frames))]
            size = put(data, size, size, 0, PyBytes_AS_STRING(part), PyBytes_GET_SIZE(part))
    return mutate(data, size, tokens) if below(8) else size


cdef Py_ssize_t carry(int source, int target, bint change, list tokens) except -2:
    """Carry what has come from one socket to another, perhaps changed; return its size, below 1 = nothing has."""
    cdef Py_ssize_t size = recv(source, CARRIED, LONGEST // 2, 0)
    if size > 0:
        if change:
            size = mutate(CARRIED, size, tokens)
        send(target, CARRIED, size, MSG_NOSIGNAL)
    return size


cdef class Fuzzer:
    """Runs connections against one acceptor.

    Args:
        loop: gets ``call_exception_handler``; the reactor's host, which never runs.
        policy: of the listener.
        server, client: TLS policies; None = without TLS.
    """

    cdef Reactor reactor
    cdef readonly Served served
    cdef AcceptEvents owner
    cdef TlsContext server
    cdef TlsContext client

    def __init__(self, loop, ListenPolicy policy, TlsContext server, TlsContext client):
        self.reactor = Reactor(loop)
        self.served = Served(self.reactor)
        self.owner = AcceptedConnections(self.served, policy)
        self.server = server
        self.client = client

    cdef StreamSocket accept(self, int fd):
        cdef StreamSocket socket = StreamSocket.__new__(StreamSocket)
        cdef SocketEvents events
        socket.is_accepted = True
        socket.peer_address = ("127.0.0.1", 1)
        events = self.owner.on_accept(socket, self.server is not None)
        socket.start(self.reactor, fd, events, None if self.server is None else self.server.open_session(None))
        return socket

    cdef int speak(self, int mine, const char* data, Py_ssize_t size) except -1:
        """Send in one to three pieces, without TLS."""
        cdef Py_ssize_t at = 0
        cdef Py_ssize_t piece
        while at < size:
            piece = size - at if below(3) else 1 + below(size - at)
            if send(mine, data + at, piece, MSG_NOSIGNAL) < 0:
                return 0
            at += piece
            self.reactor.turn()
        while recv(mine, CARRIED, PIECE, 0) > 0:
            self.reactor.turn()

    cdef int speak_tls(self, int mine, const char* data, Py_ssize_t size, list tokens) except -1:
        """Shake hands through a wire that changes one piece at most, send, and say goodbye now and then."""
        cdef TlsSession peer = self.client.open_session(b"edge.test")
        cdef int[2] pair
        cdef int changed = <int>below(2 * STEPS)
        cdef int step
        cdef bint sent = False
        cdef Py_ssize_t moved
        if socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) != 0:
            raise OSError("no pair of sockets")
        try:
            peer.attach(pair[0])
            for step in range(STEPS):
                if not peer.is_established:
                    peer.handshake()
                if peer.is_established and not sent:
                    sent = True
                    peer.write(data, size)
                    if below(4) == 0:
                        peer.say_goodbye()
                moved = carry(pair[1], mine, step == changed, tokens)
                self.reactor.turn()
                moved = max(moved, carry(mine, pair[1], step + STEPS == changed, tokens))
                if peer.is_established:
                    peer.read(CARRIED, PIECE)       # sessions to be resumed come this way
                if moved < 1:
                    break
        finally:
            peer.detach()
            close(pair[0])
            close(pair[1])

    cdef int execute(self, const char* data, Py_ssize_t size, list tokens) except -1:
        cdef int[2] pair
        cdef StreamSocket socket
        if socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) != 0:
            raise OSError("no pair of sockets")
        socket = self.accept(pair[0])
        if self.server is None:
            self.speak(pair[1], data, size)
        else:
            self.speak_tls(pair[1], data, size, tokens)
        close(pair[1])
        for _ in range(<int>ENDINGS):
            if not self.reactor.watched:
                break
            self.reactor.turn()
        if self.reactor.watched:
            socket.abort()
            self.reactor.turn()
        if self.reactor.watched or len(self.served.open_connections) or self.served.buffered:
            raise AssertionError("a connection leaves something behind")

    def run(self, list frames not None, list tokens not None, uint64_t executions, double seconds, uint64_t seed):
        """Execute mutated inputs until their number or the seconds are reached.

        Returns:
            (executions, inputs that are kept because they reached something new, slots of coverage).
        """
        global STATE, edge_recording
        cdef char[LONGEST + 64] data
        cdef list corpus = []
        cdef uint64_t done = 0
        cdef Py_ssize_t size
        STATE = seed * 2 + 1
        until = time.monotonic() + seconds
        while done < executions:
            if not done & 255 and time.monotonic() > until:
                break
            size = build(data, frames, corpus, tokens)
            edge_recording = 1
            self.execute(data, size, tokens)
            edge_recording = 0
            done += 1
            if edge_news() and len(corpus) < 5000:
                corpus.append(PyBytes_FromStringAndSize(data, size))
        return done, len(corpus), edge_reached()
