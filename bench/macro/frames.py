"""A minimal HTTP/2 peer that costs almost no CPU: fixed field sections, frames written by hand, nothing decoded.

Both the load and the upstream of the gRPC scenarios are a :class:`Peer`. Their CPU time is not counted, but they share
the machine with the proxy. Field sections are compressed as real peers do it (RFC 7541: literal once, then an index),
so that a proxy has the usual decoding to do. What arrives is distinguished by frames alone (RFC 9113 4.1).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from hpack import Encoder

if TYPE_CHECKING:
    from collections.abc import Mapping

    Section = tuple[tuple[str, str], ...]

DATA: Final = 0
HEADERS: Final = 1
RST_STREAM: Final = 3
SETTINGS: Final = 4
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
END_STREAM: Final = 1
ACK: Final = 1
_END_HEADERS: Final = 4
_FRAME_HEAD: Final = 9

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
WINDOW: Final = 65535  # initial window of a connection, and of a stream unless SETTINGS change it
_LARGEST: Final = 2**31 - 1
HEADER_TABLE_SIZE: Final = 1
INITIAL_WINDOW_SIZE: Final = 4


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return a frame."""
    return b"%b%c%c%b%b" % (len(payload).to_bytes(3, "big"), kind, flags, stream.to_bytes(4, "big"), payload)


def message(data: bytes) -> bytes:
    """Return a gRPC message as it appears in DATA frames: compressed flag, length, data."""
    return b"\0" + len(data).to_bytes(4, "big") + data


# The largest windows: a reader that always reads needs no flow control and sends no updates.
OPENING: Final = frame(SETTINGS, 0, 0, INITIAL_WINDOW_SIZE.to_bytes(2, "big") + _LARGEST.to_bytes(4, "big")) + frame(
    WINDOW_UPDATE, 0, 0, (_LARGEST - WINDOW).to_bytes(4, "big")
)


class Coder:
    """Compresses the field sections of a connection. A section that adds nothing to the table is encoded only once."""

    def __init__(self, sections: Mapping[str, Section]) -> None:
        self._sections = sections
        self._encoder = Encoder()
        self._known: dict[str, bytes] = {}

    def limit(self, size: int) -> None:
        """Use a table of at most ``size`` bytes from now on; nginx allows an upstream none."""
        if size < self._encoder.header_table_size:
            self._encoder.header_table_size = size
            self._known.clear()

    def __call__(self, name: str) -> bytes:
        """Return the compressed section, as it has to be sent now."""
        block = self._known.get(name)
        if block is None:
            table = self._encoder.header_table.dynamic_entries
            before = len(table)
            block = self._encoder.encode(self._sections[name])
            if len(table) == before:
                self._known[name] = block
            else:
                self._known.clear()  # new entries have shifted the index of every older one
        return block


class Peer(asyncio.Protocol):
    """One end of a connection. :meth:`flush` sends what is in ``out``; it is called after everything received.

    Args:
        sections: every field section that it sends, by name.
        greeting: the first bytes to send.
    """

    def __init__(self, sections: Mapping[str, Section], greeting: bytes) -> None:
        self._coder = Coder(sections)
        self._rest = b""
        self.out = [greeting]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the greeting, and whatever else is in ``out``."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transport does not subclass asyncio's
        self.flush()

    def headers(self, name: str, stream: int, flags: int = 0) -> None:
        """Send a field section."""
        self.out.append(frame(HEADERS, flags | _END_HEADERS, stream, self._coder(name)))

    def flush(self) -> None:
        """Write everything in ``out`` at once."""
        if self.out:
            self._transport.write(b"".join(self.out))
            self.out.clear()

    def data_received(self, data: bytes) -> None:
        """Handle every complete frame."""
        if self._rest:
            data = self._rest + data
        at, size = 0, len(data)
        while size - at >= _FRAME_HEAD:
            start = at + _FRAME_HEAD
            end = start + int.from_bytes(data[at : at + 3], "big")
            if end > size:
                break
            kind, flags = data[at + 3], data[at + 4]
            stream = int.from_bytes(data[at + 5 : start], "big")
            if kind == DATA:
                self.on_data(stream, data[start:end], flags & END_STREAM)
            elif kind == HEADERS:
                self.on_headers(stream, flags & END_STREAM)
            elif not flags & ACK:
                self._on_control(kind, stream, data[start:end])
            at = end
        self._rest = data[at:]
        self.flush()

    def _on_control(self, kind: int, stream: int, payload: bytes) -> None:
        if kind == WINDOW_UPDATE:
            self.on_window(stream, int.from_bytes(payload, "big"))
        elif kind == SETTINGS:
            self.out.append(frame(SETTINGS, ACK, 0))
            for at in range(0, len(payload), 6):
                number, value = (
                    int.from_bytes(payload[at : at + 2], "big"),
                    int.from_bytes(payload[at + 2 : at + 6], "big"),
                )
                if number == HEADER_TABLE_SIZE:
                    self._coder.limit(value)
                self.on_setting(number, value)
        elif kind == PING:
            self.out.append(frame(PING, ACK, 0, payload))
        elif kind in (RST_STREAM, GOAWAY):
            self.on_end(f"{'RST_STREAM' if kind == RST_STREAM else 'GOAWAY'} {payload.hex()} on stream {stream}")

    def on_data(self, stream: int, payload: bytes, ended: int) -> None:
        """Handle a DATA frame."""

    def on_headers(self, stream: int, ended: int) -> None:
        """Handle a HEADERS frame."""

    def on_window(self, stream: int, more: int) -> None:
        """Handle a window update of ``more`` bytes."""

    def on_setting(self, number: int, value: int) -> None:
        """Handle a setting of the other end."""

    def on_end(self, said: str) -> None:
        """Handle the end of a stream or the connection by the other end."""
