"""What does a process know before anyone answers it?  What another process of the node wrote to memory they share.

A keepsake is an anonymous memory file whose descriptor children inherit. It has one writer and holds one value:

- how the node was started (the supervisor writes once; see ``edge.app.launch``);
- the last Snapshot: control writes each before publishing it, and a worker that starts reads it first and asks control
  afterwards. So a killed worker is replaced within a second even while control is down, and a restarted control goes
  on counting versions where the dead one stopped;
- the supervisor's tally of restarts;
- control's ledger (``edge.control.ledger``).

A reader that meets a half-written value (the writer is writing, or was killed while writing) sees a wrong checksum and
treats it as absent. Nothing here touches a disk; what does is ``edge.control.state``.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import Any, Final, Generic, TypeVar

import msgspec

T = TypeVar("T")

_HEADER: Final = struct.Struct("!8sQI")  # magic, bytes of body, CRC-32 of body
_MAGIC: Final = b"edgekeep"
# A reader that loses a race against the writer looks again: a write takes well under a millisecond.
_LOOKS: Final = 3


class Keepsake(Generic[T]):
    """One value of type ``kind`` in the memory file ``fd``; ``Keepsake.create`` makes the file."""

    def __init__(self, fd: int, kind: type[T]) -> None:
        self.fd = fd
        self._kind = kind

    @classmethod
    def create(cls, name: str, kind: type[T]) -> Keepsake[T]:
        """Make an empty keepsake; ``name`` shows in /proc. Its ``fd`` is inherited only by ``pass_fds``."""
        return cls(os.memfd_create(f"edge-{name}", os.MFD_CLOEXEC), kind)

    def keep(self, value: T) -> None:
        """Write the value, whole, in place of the last one."""
        body = packed(value)
        os.pwrite(self.fd, bytes(_HEADER.size), 0)  # from here on, readers see none rather than a mixture
        _pwrite_all(self.fd, body, _HEADER.size)
        os.ftruncate(self.fd, _HEADER.size + len(body))
        os.pwrite(self.fd, _HEADER.pack(_MAGIC, len(body), zlib.crc32(body)), 0)

    def recall(self) -> T | None:
        """Return the last value kept whole; None when there is none, or only half of one."""
        for _ in range(_LOOKS):
            body = self._body()
            if body is not None:
                return unpacked(body, self._kind)
        return None

    def _body(self) -> bytes | None:
        head = os.pread(self.fd, _HEADER.size, 0)
        if len(head) < _HEADER.size:
            return None
        magic, size, checksum = _HEADER.unpack(head)
        if magic != _MAGIC:
            return None
        body = _pread_all(self.fd, size, _HEADER.size)
        return body if len(body) == size and zlib.crc32(body) == checksum else None


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
