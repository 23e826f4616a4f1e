"""The slow, obvious twin of native.codec.websocket: reads the frames of a peer from all of its bytes at once."""

from __future__ import annotations

from typing import NamedTuple

CONTROL = {8, 9, 10}
VALID = {0, 1, 2, *CONTROL}


class Read(NamedTuple):
    """What a peer said: (opcode, payload) in order, the close code of a fault (0 = none), whether a Close came."""

    found: list[tuple[int, bytes]]
    fault: int
    closed: bool


def masked(opcode: int, payload: bytes, key: bytes = b"\x01\x02\x03\x04", *, final: bool = True) -> bytes:
    """Return a frame of a client."""
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 65536:
        length = bytes([0x80 | 126]) + size.to_bytes(2, "big")
    else:
        length = bytes([0x80 | 127]) + size.to_bytes(8, "big")
    hidden = bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))
    return bytes([(0x80 if final else 0) | opcode]) + length + key + hidden


def may_begin(text: bytes) -> bool:
    """Return whether some UTF-8 text begins with these bytes."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return True


class FaultError(Exception):
    """The connection has to fail with this close code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Twin:
    """Reads all frames in ``data``, as far as they are complete."""

    def __init__(self, data: bytes, limit: int, client: bool) -> None:
        self.data = data
        self.limit = limit
        self.client = client
        self.found: list[tuple[int, bytes]] = []
        self.kind, self.message = 0, b""

    def first(self, at: int) -> None:
        """Judge the first byte of a head."""
        final, opcode = self.data[at] >> 7, self.data[at] & 15
        if self.data[at] & 0x70 or opcode not in VALID or (opcode in CONTROL and not final):
            raise FaultError(1002)
        if (opcode == 0 and not self.kind) or (opcode in {1, 2} and self.kind):
            raise FaultError(1002)

    def length(self, at: int) -> tuple[int, int]:
        """Return the length of a frame, and where its payload begins."""
        opcode, size = self.data[at] & 15, self.data[at + 1] & 127
        if (self.data[at + 1] >> 7) != self.client or (opcode in CONTROL and size > 125):
            raise FaultError(1002)
        more = {126: 2, 127: 8}.get(size, 0)
        body = at + 2 + more + (4 if self.client else 0)
        if more and body <= len(self.data):
            size = int.from_bytes(self.data[at + 2 : at + 2 + more], "big")
            if size < {2: 126, 8: 65536}[more] or size >= 1 << 63:
                raise FaultError(1002)
        return size, body

    def take(self, opcode: int, final: bool, payload: bytes, whole: bool) -> None:
        """Take the payload of a frame of data, of which a part may be missing."""
        self.kind = self.kind or opcode
        self.message += payload
        ends = whole and final
        if self.kind == 1 and not (is_text if ends else may_begin)(self.message):
            raise FaultError(1007)
        if ends:
            self.found.append((self.kind, self.message))
            self.kind, self.message = 0, b""

    def run(self) -> bool:
        """Read; return whether a Close has come."""
        at = 0
        while at < len(self.data):
            self.first(at)
            if at + 1 == len(self.data):
                break
            opcode, final = self.data[at] & 15, bool(self.data[at] >> 7)
            size, body = self.length(at)
            if body > len(self.data):
                break
            if opcode not in CONTROL and len(self.message) + size > self.limit:
                raise FaultError(1009)
            key = self.data[body - 4 : body] if self.client else bytes(4)
            payload = bytes(byte ^ key[i % 4] for i, byte in enumerate(self.data[body : body + size]))
            at = body + size
            if opcode not in CONTROL:
                self.take(opcode, final, payload, at <= len(self.data))
            elif at <= len(self.data):
                if opcode == 8:
                    judge_close(payload)
                self.found.append((opcode, payload))
                if opcode == 8:
                    return True
        return False


def read(data: bytes, limit: int, *, client: bool = True) -> Read:
    """Read all frames in ``data``, as far as they are complete."""
    twin = Twin(data, limit, client)
    try:
        closed = twin.run()
    except FaultError as fault:
        return Read(twin.found, fault.code, False)
    return Read(twin.found, 0, closed)


def judge_close(payload: bytes) -> None:
    """Refuse a Close that is not sound."""
    code = int.from_bytes(payload[:2], "big")
    sent = code in range(1000, 1004) or code in range(1007, 1015) or code in range(3000, 5000)
    if payload and (len(payload) == 1 or not sent):
        raise FaultError(1002)
    if not is_text(payload[2:]):
        raise FaultError(1007)


def is_text(data: bytes) -> bool:
    """Return whether ``data`` is UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
