"""What does a node hold for all its processes, and give back at the end?  Addresses, a private folder, a socket, state.

A reserved address is a bound socket that never listens. While it is held, no one else of this machine gets the port,
port 0 is the same number for every worker, and a worker that is restarted finds its address free.

The lock on the state belongs to the process that was started, and to no child of it: children come and go under it,
and the kernel gives it back in the moment in which that process dies, however it does, though children still drain.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import resource
import shutil
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import structs

from edge.control.kept_file import name_for
from edge.errors import EdgeError
from edge.listen.server import bind
from edge.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.terms.snapshot import Listener

# sockaddr_un.sun_path, less its final zero.
_LONGEST_SOCKET_PATH: Final = 107
# Two descriptors per stream, and some: below this a node is not of much use.
_FEW_FILES: Final = 4096


class StateTakenError(EdgeError):
    """Another node keeps its state where this one wants to: each would undo what the other wrote."""

    kind = "state_taken"
    retry = "same"


@contextlib.contextmanager
def port(host: str, wanted: int) -> Iterator[int]:
    """Hold ``host:wanted``; yields the port, which is another than asked for only when that was 0.

    Raises:
        AddressTakenError: it cannot be had.
    """
    with bind(host, wanted) as sock:
        if wanted and _others_listen(sock):
            logs.say(
                logs.WARNING,
                "another node of this user listens here too: each gets a part of the connections, commands as well",
                address=f"{host}:{wanted}",
            )
        yield int(sock.getsockname()[1])


def _others_listen(sock: socket.socket) -> bool:
    """Tell whether somebody accepts connections at the address that ``sock`` is bound to."""
    with socket.socket(sock.family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # passes what is bound, and not what listens
        if sock.family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        try:
            probe.bind(sock.getsockname())
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


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


@contextlib.contextmanager
def state(folder: str, source: str) -> Iterator[None]:
    """Hold what the node of the file ``source`` keeps in ``folder``. A folder that cannot be locked is said, no more.

    Raises:
        StateTakenError: another node of the same file keeps its state there.
    """
    path = Path(folder) / name_for("lock", source)
    with contextlib.ExitStack() as held:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Not inherited: neither a control that outlives us for a moment nor a worker that drains may keep it.
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            held.callback(os.close, fd)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StateTakenError(
                f"another node that was started with {source} keeps its state in {folder}: both would overwrite what "
                "keys spent and the last good configuration; stop that one, or give this one a folder of its own by "
                "node.state_dir or --state-dir"
            ) from error
        except OSError as error:  # a full or read-only disk, or one without locks, keeps no node from serving
            said = error.strerror or str(error)
            logs.say(logs.WARNING, "the state folder cannot be locked against other nodes", path=str(path), error=said)
        yield


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
