"""Asks an HTTP proxy for a tunnel (RFC 9110 9.3.6). Nothing behind the answer's head is taken: it belongs to the tunnel."""

cdef enum:
    LONGEST = 16384         # bytes of an answer's head

# What the statuses that people meet mean for the one who can change it.
cdef dict REMEDIES = {
    403: "its rules forbid this target", 407: "it wants other credentials", 502: "it could not connect to the target",
    503: "it could not connect to the target", 504: "the target did not answer it",
}


cdef class ConnectAnswer(Preface):
    """One tunnel.

    Args:
        authority: host and port of the target.
        authorization: value of Proxy-Authorization; None = no such field.
    """

    def __init__(self, bytes authority not None, bytes authorization):
        self.greeting = b"CONNECT " + authority + b" HTTP/1.1\r\nHost: " + authority + b"\r\n"
        if authorization is not None:
            self.greeting += b"Proxy-Authorization: " + authorization + b"\r\n"
        self.greeting += b"\r\n"
        self.head = b""

    def __repr__(self):
        return f"<ConnectAnswer {len(self.head)} bytes>"

    cdef Py_ssize_t feed(self, const char* data, Py_ssize_t size):
        cdef Py_ssize_t before = len(self.head)
        cdef bytes head = self.head + data[:size]
        cdef Py_ssize_t end = head.find(b"\r\n\r\n", max(before - 3, 0))
        if end < 0:
            self.head = head
            if len(head) > LONGEST:
                self.is_bad = True
                self.fault = "the proxy's answer to CONNECT has no end"
            return size
        self.head = head[:end + 4]
        self._judge()
        return end + 4 - before

    cdef int _judge(self) except -1:
        cdef list words = self.head.split(b"\r\n", 1)[0].split(b" ", 2)
        cdef int status
        if len(words) < 2 or not (<bytes>words[0]).startswith(b"HTTP/1.") or not (
            len(words[1]) == 3 and (<bytes>words[1]).isdigit()
        ):
            self.is_bad = True
            self.fault = "the proxy does not speak HTTP"
            return 0
        status = int(words[1])
        if 200 <= status < 300:
            self.is_complete = True
            return 0
        self.is_bad = True
        self.fault = f"the proxy answered CONNECT with {status}"
        if status in REMEDIES:
            self.fault += ": " + <str>REMEDIES[status]


def read_connect_answer(data, bytes authorization=None):
    """Return (greeting, bytes taken of the last part, complete, fault) after an answer that comes in these parts."""
    cdef ConnectAnswer answer = ConnectAnswer(b"target:443", authorization)
    cdef Py_ssize_t taken = 0
    for part in data:
        taken = answer.feed(<const char*><bytes>part, len(part))
    return answer.greeting, taken, answer.is_complete, answer.fault
