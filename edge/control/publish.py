"""Distribution of Snapshots: each worker gets the current one when it connects, and then every later one."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Final

from edge.control import frames
from edge.telemetry import logs

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from edge.terms.snapshot import Snapshot
    from edge.terms.trace import ExchangeRecord

    Taker = Callable[[Sequence[ExchangeRecord]], None]

_MOST_UNREAD: Final = 64 * 1024
_KEYS: Final = frames.encode(frames.KeysChanged())


class Publisher:
    """Serves the Snapshot on the node's private socket and tracks the version that each worker uses.

    ``serving`` maps the index of each connected worker to its last :class:`~edge.control.frames.Serving`.

    Args:
        snapshot: the first Snapshot.
        takers: called with every batch of records that a worker sends; they must return at once and not raise. They
            get no record that is for the access log alone.
        access: called with every batch, for the access log.
    """

    def __init__(self, snapshot: Snapshot, takers: Sequence[Taker] = (), access: Taker | None = None) -> None:
        self.snapshot = snapshot
        self._takers = takers
        self._access = access
        self.serving: dict[int, frames.Serving] = {}
        self.wanted: Callable[[str], None] = lambda _source: None
        """Called with each source of signing keys that a worker asks for."""
        self.wanted_member: Callable[[str, str], None] = lambda _group, _name: None
        """Called with each group, and identity of it, that a worker wants a record for."""
        self._frame = frames.encode(frames.Publish(snapshot))
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def start(self, sock: socket.socket) -> None:
        """Accept workers on a listening AF_UNIX socket, which the caller closes."""
        if sys.version_info >= (3, 13):  # since then loops remove the path of the socket, which is not theirs
            self._server = await asyncio.start_unix_server(self._serve, sock=sock, cleanup_socket=False)
        else:
            self._server = await asyncio.start_unix_server(self._serve, sock=sock)

    async def stop(self) -> None:
        """Close every worker's connection; workers keep serving and connect to the next control process."""
        if self._server is not None:
            self._server.close()
        for writer in tuple(self._writers):
            writer.close()

    def publish(self, snapshot: Snapshot) -> None:
        """Send a new Snapshot to every connected worker.

        A worker that has not read the previous one is disconnected, and gets the newest when it reconnects; so
        Snapshots do not pile up for a worker that hangs.
        """
        self.snapshot = snapshot
        self._frame = frames.encode(frames.Publish(snapshot))
        for writer in tuple(self._writers):
            if writer.transport.get_write_buffer_size():
                writer.transport.abort()
            else:
                writer.write(self._frame)

    def tell_keys(self) -> None:
        """Tell every connected worker that the cluster's keys have changed."""
        for writer in tuple(self._writers):
            if writer.transport.get_write_buffer_size() > len(self._frame) + _MOST_UNREAD:
                writer.transport.abort()  # a worker that hangs; it reads everything when it reconnects
            else:
                writer.write(_KEYS)

    def _hand_out(self, records: Sequence[ExchangeRecord]) -> None:
        if self._access is not None:
            self._access(records)
        if self.snapshot.tracing.every_request:
            records = [record for record in records if record.kept != "logged"]
        if records:
            for take in self._takers:
                take(records)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        worker: int | None = None
        self._writers.add(writer)
        try:
            writer.write(self._frame)
            while True:
                message = await frames.read(reader)
                if isinstance(message, frames.Recorded):
                    self._hand_out(message.records)
                    continue
                if isinstance(message, frames.Wanted):
                    self.wanted(message.source)
                    continue
                if isinstance(message, frames.WantedMember):
                    self.wanted_member(message.group, message.name)
                    continue
                if not isinstance(message, frames.Serving):
                    raise frames.FrameError(f"a worker sent {type(message).__name__}")  # noqa: TRY301
                worker = message.worker
                self.serving[worker] = message
        except (asyncio.IncompleteReadError, ConnectionError):
            logs.say(logs.DEBUG, "a worker disconnected", worker=worker)
        except frames.FrameError as error:
            logs.say(logs.ERROR, "a worker sent an invalid message; its connection is closed", error=str(error))
        finally:
            self._writers.discard(writer)
            if worker is not None:
                self.serving.pop(worker, None)
            writer.close()
