"""What does a node hold for all its processes, and give back at the end?  Addresses, a private folder, a socket.

A reserved address is a bound socket that never listens. While it is held, no one else of this machine gets the port,
port 0 is the same number for every worker, and a worker that is restarted finds its address free.
"""

from __future__ import annotations

import contextlib
import resource
import shutil
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import structs

from edge.listen.server import bind
from edge.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.terms.snapshot import Listener

# sockaddr_un.sun_path, less its final zero.
_LONGEST_SOCKET_PATH: Final = 107
# Two descriptors per stream, and some: below this a node is not of much use.
_FEW_FILES: Final = 4096


@contextlib.contextmanager
def port(host: str, wanted: int) -> Iterator[int]:
    """Hold ``host:wanted``; yields the port, which is another than asked for only when that was 0.

    Raises:
        AddressTakenError: it cannot be had.
    """
    with bind(host, wanted) as sock:
        yield int(sock.getsockname()[1])


@contextlib.contextmanager
def listeners(wanted: tuple[Listener, ...]) -> Iterator[tuple[Listener, ...]]:
    """Hold the addresses of all listeners; yields them with their real ports."""
    with contextlib.ExitStack() as held:
        yield tuple(
            structs.replace(listener, port=held.enter_context(port(listener.host, listener.port)))
            for listener in wanted
        )


@contextlib.contextmanager
def control_socket() -> Iterator[socket.socket]:
    """Hold a listening AF_UNIX socket in a folder that only this user can enter.

    It is held here and not in control, so that workers' connects wait in its queue while control is away.
    """
    folder = _private_folder()
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(folder / "control"))
            sock.listen(128)
            yield sock
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _private_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="edge-"))
    if len(str(folder / "control")) > _LONGEST_SOCKET_PATH:
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix="edge-", dir="/tmp"))  # mkdtemp makes it private
    return folder


def many_files() -> None:
    """Allow this process and its children as many open files as the system lets it: each stream needs two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < _FEW_FILES:
        logs.say(logs.WARNING, "few files may be open; raise the hard limit (ulimit -Hn)", limit=hard)
