"""The members of etcd: one channel each, and the choice of the member to call.

The first member is used until it fails. Then the next one is used at once, and the first is tried again a minute later.
Certificates are read again when their files change, so renewing them needs no restart.
"""

from __future__ import annotations

import contextlib
import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc
import grpc.aio
from msgspec import Struct

from edge import clock as real
from edge.config.addresses import parse_member
from edge.errors import StoreRefusedError
from edge.version import VERSION

if TYPE_CHECKING:
    from edge.clock import Clock
    from edge.config.schema_cluster import Etcd

RETURN_S: Final = 60.0
POLL_S: Final = 5.0
_NS: Final = 1_000_000_000
LARGEST_ANSWER: Final = 64 * 1024**2
_OPTIONS: Final[tuple[tuple[str, str | int], ...]] = (
    # etcd closes connections that ping more often than every 5 s, or without a call (--grpc-keepalive-min-time).
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.keepalive_permit_without_calls", 0),
    # A member that comes back must be found within seconds; the default back-off grows to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.max_receive_message_length", LARGEST_ANSWER),
    # EtcdStore alone decides about retries.
    ("grpc.enable_retries", 0),
    # A proxy from the environment is for outside traffic, and DNS TXT records must not configure this client.
    ("grpc.enable_http_proxy", 0),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.primary_user_agent", f"edge/{VERSION}"),
)


class MemberStatus(Struct, frozen=True):
    """The status of a member. ``size`` and ``in_use`` of its database are in bytes; ``error``: it did not respond."""

    url: str
    version: str = ""
    leads: bool = False
    has_leader: bool = False
    revision: int = 0
    size: int = 0
    in_use: int = 0
    alarms: tuple[str, ...] = ()
    error: str = ""


class Members:
    """The members, in order of preference."""

    def __init__(self, settings: Etcd, clock: Clock = real) -> None:
        self._settings = settings
        self._clock = clock
        self._urls = [parse_member(text) for text in settings.endpoints]
        self._channels: dict[int, grpc.aio.Channel] = {}
        self._retired: list[grpc.aio.Channel] = []
        self._marks = self._file_marks()
        self._checked_ns = clock.now_ns()
        self._current = 0
        self._left_ns = 0

    def __len__(self) -> int:
        return len(self._urls)

    def pick(self) -> int:
        """Return the number of the member to call now."""
        if self._current and self._clock.now_ns() - self._left_ns > RETURN_S * _NS:
            self._current = 0
        return self._current

    def leave(self, number: int) -> None:
        """Use another member than this one from now on; does nothing if another is in use already."""
        if number == self._current:
            self._current = (number + 1) % len(self._urls)
            self._left_ns = self._clock.now_ns()

    def name(self, number: int) -> str:
        """Return a member's address as written in the configuration."""
        return self._settings.endpoints[number]

    def channel(self, number: int) -> grpc.aio.Channel:
        """Return the channel to a member, which connects at its first use.

        Raises:
            StoreRefusedError: a certificate file cannot be read.
        """
        now = self._clock.now_ns()
        if now - self._checked_ns > POLL_S * _NS:
            self._checked_ns = now
            marks = self._file_marks()
            if marks != self._marks:
                self._marks = marks
                self._retired += self._channels.values()
                self._channels.clear()
        channel = self._channels.get(number)
        if channel is None:
            channel = self._channels[number] = self._make(number)
        return channel

    async def close(self) -> None:
        """Close every channel; calls in progress on them are cancelled."""
        for channel in (*self._channels.values(), *self._retired):
            await channel.close(None)
        self._channels.clear()
        self._retired.clear()

    async def tidy(self) -> None:
        """Close the channels whose certificates were replaced."""
        retired, self._retired = self._retired, []
        for channel in retired:
            await channel.close(None)

    def _make(self, number: int) -> grpc.aio.Channel:
        url = self._urls[number]
        target = f"[{url.host}]:{url.port}" if ":" in url.host else f"{url.host}:{url.port}"
        if not url.tls:
            return grpc.aio.insecure_channel(target, options=_OPTIONS)
        settings = self._settings
        credentials = grpc.ssl_channel_credentials(
            root_certificates=_read(settings.ca or ssl.get_default_verify_paths().cafile),
            private_key=_read(settings.key),
            certificate_chain=_read(settings.cert),
        )
        named = (("grpc.ssl_target_name_override", settings.server_name),) if settings.server_name else ()
        return grpc.aio.secure_channel(target, credentials, options=(*_OPTIONS, *named))

    def _file_marks(self) -> tuple[tuple[int, int] | None, ...]:
        """Return modification time and inode of each certificate file; None: there is no such file."""
        marks: list[tuple[int, int] | None] = []
        for path in (self._settings.ca, self._settings.cert, self._settings.key):
            mark = None
            if path is not None:
                with contextlib.suppress(OSError):
                    found = os.stat(path)  # noqa: PTH116  # quick, and done only every few seconds
                    mark = (found.st_mtime_ns, found.st_ino)
            marks.append(mark)
        return tuple(marks)


def _read(path: str | None) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise StoreRefusedError(f"the certificate file {path} cannot be read: {error.strerror}") from error
