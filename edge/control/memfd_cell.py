"""Values that processes of a node pass on in shared memory, readable without the process that wrote them.

A cell is an anonymous memory file whose descriptor children inherit. It has one writer and holds one value:

- the node's start parameters, which the supervisor writes once (``edge.app.launch``);
- the last Snapshot: control writes each Snapshot before it publishes it, and a starting worker reads it before it
  connects to control. So a killed worker is replaced within a second even while control is down, and a restarted
  control continues the version numbers. The supervisor writes the first one, where the configuration says all that
  it needs, and so the first workers do not wait for control either;
- the supervisor's state (``edge.app.supervisor_state``);
- control's ledger (``edge.control.ledger``);
- control's heartbeat.

A new value is written beside the last one, and then its header replaces the header of the value before. So a reader
during a write, or after the writer was killed during one, finds the last complete value: of the headers with a correct
checksum, the one with the higher number. Cells are never on disk; ``edge.control.state`` is.

    0 header | 28 header | 56 body of one value, body of the other; a header holds the position of its body
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import Any, Final, Generic, NamedTuple, TypeVar

import msgspec

T = TypeVar("T")

_SUM: Final = struct.Struct("!I")  # CRC-32 of the fields and the body
_FIELDS: Final = struct.Struct("!QQQ")  # number of the value, from 1; position of its body; size of its body
_HEADER: Final = _FIELDS.size + _SUM.size
_BODIES: Final = 2 * _HEADER
# A reader tries again if the writer overtook it, which takes two writes during one read.
_TRIES: Final = 3


class _Half(NamedTuple):
    """A complete value."""

    number: int
    header: int  # index of its header, 0 or 1
    place: int
    body: bytes


class MemfdCell(Generic[T]):
    """One value of type ``kind`` in the memory file ``fd``; ``MemfdCell.create`` creates the file."""

    def __init__(self, fd: int, kind: type[T]) -> None:
        self.fd = fd
        self._kind = kind

    @classmethod
    def create(cls, name: str, kind: type[T]) -> MemfdCell[T]:
        """Create an empty cell; ``name`` shows in /proc. Children inherit ``fd`` only through ``pass_fds``."""
        return cls(os.memfd_create(f"edge-{name}", os.MFD_CLOEXEC), kind)

    def keep(self, value: T) -> None:
        """Write a value; the previous one stays readable until the new one is complete."""
        body = packed(value)
        last = self._newest()
        number, header, place = 1, 0, _BODIES
        if last is not None:
            number, header = last.number + 1, 1 - last.header
            if _BODIES + len(body) > last.place:  # the body does not fit before the last one
                place = last.place + len(last.body)
        _pwrite_all(self.fd, body, place)
        fields = _FIELDS.pack(number, place, len(body))
        _pwrite_all(self.fd, fields + _SUM.pack(_sum(fields, body)), header * _HEADER)
        os.ftruncate(self.fd, place + len(body))

    def recall(self) -> T | None:
        """Return the last complete value; None if none was written."""
        for _ in range(_TRIES):
            found = self._newest()
            if found is not None:
                return unpacked(found.body, self._kind)
        return None

    def _newest(self) -> _Half | None:
        heads, end = _pread_all(self.fd, _BODIES, 0), os.fstat(self.fd).st_size
        if len(heads) < _BODIES:
            return None
        halves = []
        for header in range(2):
            number, place, size = _FIELDS.unpack_from(heads, header * _HEADER)
            if number and place + size <= end:
                halves.append((number, header, place, size))
        for number, header, place, size in sorted(halves, reverse=True):
            fields = heads[header * _HEADER :][: _FIELDS.size]
            (checksum,) = _SUM.unpack_from(heads, header * _HEADER + _FIELDS.size)
            body = _pread_all(self.fd, size, place)
            if len(body) == size and _sum(fields, body) == checksum:
                return _Half(number, header, place, body)
        return None


def _sum(fields: bytes, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(fields))


def packed(value: object) -> bytes:
    """Return a value of frozen structs as msgpack, with secrets in clear."""
    return msgspec.msgpack.encode(value, enc_hook=_plain)


def unpacked(body: bytes, kind: type[T]) -> T:
    """Return the value that :func:`packed` encoded.

    Raises:
        msgspec.MsgspecError: the data do not hold a value of this type.
    """
    return msgspec.msgpack.decode(body, type=kind, dec_hook=_of_kind)


def _plain(value: object) -> str:
    """Encode a subclass of str (edge.config.fields.Secret) as plain text."""
    if isinstance(value, str):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be encoded")


def _of_kind(kind: type[Any], value: object) -> object:
    if issubclass(kind, str):
        return kind(value)
    raise TypeError(f"{kind.__name__} cannot be decoded")


def _pwrite_all(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


def _pread_all(fd: int, size: int, offset: int) -> bytes:
    parts: list[bytes] = []
    while size > 0:
        part = os.pread(fd, size, offset)
        if not part:
            break
        parts.append(part)
        offset, size = offset + len(part), size - len(part)
    return b"".join(parts)
