"""Messages between control and workers: length-prefixed msgpack on the node's private socket.

A frame is a 4-byte big-endian length and one tagged message. Both ends belong to the same build and are started by the
same supervisor, so there is no negotiation: a message that cannot be decoded ends the connection.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from edge.errors import EdgeError
from edge.terms.snapshot import Snapshot  # noqa: TC001  # msgspec reads the annotation at run time
from edge.terms.trace import ExchangeRecord  # noqa: TC001  # as above

if TYPE_CHECKING:
    import asyncio

# A Snapshot of ten thousand targets has about 5 MiB; a longer frame is not one of these messages.
LONGEST: Final = 256 * 1024 * 1024
_LENGTH: Final = struct.Struct("!I")


class Publish(Struct, frozen=True, tag="publish"):
    """Control to worker: use this Snapshot from now on."""

    snapshot: Snapshot


class KeysChanged(Struct, frozen=True, tag="keys_changed"):
    """Control to worker: the cluster's keys have changed; the shared memory has them (edge.control.key_cells)."""


class Serving(Struct, frozen=True, tag="serving"):
    """Worker to control: the listeners are open and this version is in use; or the worker is draining."""

    worker: int
    pid: int
    version: int
    draining: bool = False


class Recorded(Struct, frozen=True, tag="recorded"):
    """Worker to control: records of completed exchanges."""

    worker: int
    records: tuple[ExchangeRecord, ...]


class Wanted(Struct, frozen=True, tag="wanted"):
    """Worker to control: fetch the signing keys of this source, because a token names a key that is not known."""

    source: str


class WantedMember(Struct, frozen=True, tag="wanted_member"):
    """Worker to control: an identity of this group has no record of its own (edge.control.members)."""

    group: str
    name: str


class FrameError(EdgeError):
    """The peer sent something that is not a valid message."""

    kind = "bad_frame"


Message = Publish | KeysChanged | Serving | Recorded | Wanted | WantedMember
_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def encode(message: Message) -> bytes:
    """Return a message as a frame."""
    body = _encoder.encode(message)
    return _LENGTH.pack(len(body)) + body


async def read(reader: asyncio.StreamReader) -> Message:
    """Return the next message.

    Raises:
        FrameError: the frame is too long or not a message.
        asyncio.IncompleteReadError: the connection was closed.
    """
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    if length > LONGEST:
        raise FrameError(f"a frame of {length} bytes, over the limit of {LONGEST}")
    body = await reader.readexactly(length)
    try:
        return _decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise FrameError(str(error)) from error
