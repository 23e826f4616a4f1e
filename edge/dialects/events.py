"""Splits server-sent events (WHATWG HTML, section 9.2) into name and data."""

from __future__ import annotations

from typing import Final

_LARGEST: Final = 16 << 20
"""Bytes of one event that are held until it is complete."""


class EventTooLargeError(ValueError):
    """One event is larger than edge holds."""


class EventSplitter:
    """Splits one stream, which may be cut at any byte. Comments are dropped."""

    def __init__(self) -> None:
        self._rest = b""

    def push(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Return (name, data) of each event that is complete now.

        Raises:
            EventTooLargeError: an event is larger than edge holds.
        """
        if self._rest:
            data = self._rest + data
        if b"\r" in data:
            held = b"\r" if data.endswith(b"\r") else b""  # perhaps half of a line's end
            data = data[: len(data) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n") + held
        *events, self._rest = data.split(b"\n\n")
        if len(self._rest) > _LARGEST:
            raise EventTooLargeError(f"an event is larger than {_LARGEST} bytes")
        found: list[tuple[bytes, bytes]] = []
        for event in events:
            if event.startswith(b"data: ") and b"\n" not in event:
                found.append((b"", event[6:]))
            else:
                self._split(event, found)
        return found

    @staticmethod
    def _split(event: bytes, found: list[tuple[bytes, bytes]]) -> None:
        name = b""
        lines: list[bytes] = []
        for line in event.split(b"\n"):
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"data":
                lines.append(value)
            elif field == b"event":
                name = value
        if lines:
            found.append((name, b"\n".join(lines)))
