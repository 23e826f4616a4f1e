"""What does a process know before anyone answers it?  What another process of the node wrote to memory they share.

A cell is an anonymous memory file whose descriptor children inherit. It has one writer and holds one value:

- how the node was started (the supervisor writes once; see ``edge.app.launch``);
- the last Snapshot: control writes each before publishing it, and a worker that starts reads it first and asks control
  afterwards. So a killed worker is replaced within a second even while control is down, and a restarted control goes
  on counting versions where the dead one stopped;
- the supervisor's supervisor state of restarts;
- control's ledger (``edge.control.ledger``).

A value is written beside the last one, and only then is its header written over that of the one before. So a reader
that looks while the writer writes, or after it was killed while writing, finds the last value: of the headers whose
checksum holds, the one with the higher number. Nothing here touches a disk; what does is ``edge.control.state``.

    0 header | 28 header | 56 body of one, body of the other; a header says where its body is
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import Any, Final, Generic, NamedTuple, TypeVar

import msgspec

T = TypeVar("T")

_SUM: Final = struct.Struct("!I")  # CRC-32 of the fields and the body
_FIELDS: Final = struct.Struct("!QQQ")  # number of the value, from 1; where its body begins; its bytes
_HEADER: Final = _FIELDS.size + _SUM.size
_BODIES: Final = 2 * _HEADER
# A reader that loses a race against the writer (two values were kept while it read one) looks again.
_LOOKS: Final = 3


class _Half(NamedTuple):
    """A value that is there whole."""

    number: int
    header: int  # 0 or 1: which says where it is
    place: int
    body: bytes


class MemfdCell(Generic[T]):
    """One value of type ``kind`` in the memory file ``fd``; ``MemfdCell.create`` makes the file."""

    def __init__(self, fd: int, kind: type[T]) -> None:
        self.fd = fd
        self._kind = kind

    @classmethod
    def create(cls, name: str, kind: type[T]) -> MemfdCell[T]:
        """Make an empty cell; ``name`` shows in /proc. Its ``fd`` is inherited only by ``pass_fds``."""
        return cls(os.memfd_create(f"edge-{name}", os.MFD_CLOEXEC), kind)

    def keep(self, value: T) -> None:
        """Write the value in place of the last one, which counts until this one is there whole."""
        body = packed(value)
        last = self._newest()
        number, header, place = 1, 0, _BODIES
        if last is not None:
            number, header = last.number + 1, 1 - last.header
            if _BODIES + len(body) > last.place:  # there is no room before it
                place = last.place + len(last.body)
        _pwrite_all(self.fd, body, place)
        fields = _FIELDS.pack(number, place, len(body))
        _pwrite_all(self.fd, fields + _SUM.pack(_sum(fields, body)), header * _HEADER)
        os.ftruncate(self.fd, place + len(body))

    def recall(self) -> T | None:
        """Return the last value kept whole; None when there never was one."""
        for _ in range(_LOOKS):
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
    """Return a value of frozen structs as msgpack, secrets in clear."""
    return msgspec.msgpack.encode(value, enc_hook=_plain)


def unpacked(body: bytes, kind: type[T]) -> T:
    """Return the value that :func:`packed` packed.

    Raises:
        msgspec.MsgspecError: it is none of this kind.
    """
    return msgspec.msgpack.decode(body, type=kind, dec_hook=_of_kind)


def _plain(value: object) -> str:
    """Write a kind of text (edge.config.fields.Secret) as text."""
    if isinstance(value, str):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be kept")


def _of_kind(kind: type[Any], value: object) -> object:
    if issubclass(kind, str):
        return kind(value)
    raise TypeError(f"{kind.__name__} cannot be recalled")


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
