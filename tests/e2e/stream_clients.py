"""Thousands of clients that read one stream each, on epoll in one thread: far cheaper than what they measure."""

from __future__ import annotations

import errno
import json
import select
import socket
from collections import Counter, deque

from edge import clock
from edge.sim.scores import quantile

BODY = json.dumps({"model": "chat", "stream": True, "messages": [{"role": "user", "content": "Say hello."}]}).encode()
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
HEAD += b"content-length: %d\r\n\r\n"
REQUEST = HEAD % len(BODY) + BODY
TOKEN = b" hello"
TOKENS = 2  # of tests/e2e/stream_provider.py
AGAIN_S = 0.02
TICK_S = 0.05


class _Client:
    __slots__ = ("asked", "due_s", "heard", "number", "sock", "started")

    def __init__(self, number: int, due_s: float) -> None:
        self.number = number
        self.due_s = due_s
        self.sock: socket.socket | None = None
        self.heard = b""
        self.asked = self.started = False


class StreamClients:
    """Clients that start in turn within ``within_s`` seconds; :meth:`run` returns when all have ended.

    ``returning`` clients ask again when their connection ends before their stream does, or is refused. Others count
    that as an error, as every client counts an answer other than 200.
    """

    def __init__(self, port: int, count: int, *, within_s: float, returning: bool = False) -> None:
        self._where = ("127.0.0.1", port)
        self._count = count
        self._within_s = within_s
        self._returning = returning
        self._poll = select.epoll()
        self._clients: dict[int, _Client] = {}
        self._due: deque[_Client] = deque()
        self._first_s: list[float] = []
        self.errors: Counter[str] = Counter()
        self.complete = 0
        self.running = 0  # streams of which the first token has come, and not yet the end
        self.most_running = 0
        self.returned = 0
        self.last_began_s = 0.0  # after the beginning

    def first_token_s(self, share: float) -> float:
        """Return a quantile of the times to the first token, counted from when a client was due to start."""
        return quantile(self._first_s, share)

    def run(self, limit_s: float) -> None:
        """Run all clients, and read all answers.

        Raises:
            TimeoutError: streams remain after ``limit_s``.
        """
        began_s = _now_s()
        self._due.extend(
            _Client(number, began_s + number * self._within_s / self._count) for number in range(self._count)
        )
        try:
            while self.complete + self.errors.total() < self._count:
                now_s = _now_s()
                if now_s > began_s + limit_s:
                    raise TimeoutError
                while self._due and self._due[0].due_s <= now_s:
                    client = self._due.popleft()
                    self._connect(client)
                    self.last_began_s = now_s - began_s
                self._turn(max(0.0, min(TICK_S, self._due[0].due_s - now_s)) if self._due else TICK_S)
        finally:
            for client in self._clients.values():
                if client.sock is not None:
                    client.sock.close()
            self._poll.close()

    def _connect(self, client: _Client) -> None:
        sock = client.sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._clients[sock.fileno()] = client
        self._poll.register(sock, select.EPOLLOUT)
        if (code := sock.connect_ex(self._where)) != errno.EINPROGRESS:
            self._ended(client, errno.errorcode[code])

    def _turn(self, wait_s: float) -> None:
        for number, events in self._poll.poll(wait_s):
            client = self._clients[number]
            sock = client.sock
            assert sock is not None
            try:
                if not client.asked and events & select.EPOLLOUT and not events & select.EPOLLERR:
                    client.asked = True
                    sock.send(REQUEST)  # smaller than a send buffer
                    self._poll.modify(sock, select.EPOLLIN)
                else:
                    self._hear(client, sock.recv(65536))
            except OSError as error:
                self._ended(client, errno.errorcode[error.errno or 0])

    def _hear(self, client: _Client, data: bytes) -> None:
        if not data:
            self._ended(client, "closed")
            return
        client.heard += data
        status = client.heard[9:12]
        if status != b"200":
            self._let_go(client)
            self.errors[client.heard[9:300].decode(errors="replace")] += 1
            return
        if not client.started and TOKEN in client.heard:
            client.started = True
            self._first_s.append(_now_s() - client.due_s)
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        if client.heard.endswith(b"\r\n0\r\n\r\n"):
            self._let_go(client)
            if client.heard.count(TOKEN) == TOKENS and client.heard.endswith(b"[DONE]\n\n\r\n0\r\n\r\n"):
                self.complete += 1
            elif self._returning:
                self._return(client)
            else:
                self.errors[f"incomplete: {client.heard[-80:]!r}"] += 1

    def _ended(self, client: _Client, how: str) -> None:
        self._let_go(client)
        if self._returning:
            self._return(client)
        else:
            self.errors[how] += 1

    def _return(self, client: _Client) -> None:
        self.returned += 1
        self._due.append(_Client(client.number, _now_s() + AGAIN_S))

    def _let_go(self, client: _Client) -> None:
        assert client.sock is not None
        del self._clients[client.sock.fileno()]
        client.sock.close()
        self.running -= client.started


def _now_s() -> float:
    return clock.now_ns() / 1e9
