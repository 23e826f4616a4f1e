"""Resources that the supervisor holds for all processes of a node: addresses, control socket, state lock.

An address is held by a bound socket that never listens. While it is held, no other program on this machine gets the
port, port 0 resolves to the same number for every worker, and a restarted worker finds its address free.

The lock on the state folder belongs to the supervisor and is not inherited by its children. The kernel releases it in
the moment in which the supervisor dies, however it dies, even while children still drain.
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

# The size of sockaddr_un.sun_path without its final zero.
_LONGEST_SOCKET_PATH: Final = 107
# A stream needs two descriptors; with a lower limit a node can serve little.
_FEW_FILES: Final = 4096
_NR_OPEN: Final = Path("/proc/sys/fs/nr_open")


class StateTakenError(EdgeError):
    """Another node uses the same state; the two would overwrite each other's files."""

    kind = "state_taken"
    retry = "same"


@contextlib.contextmanager
def port(host: str, wanted: int) -> Iterator[int]:
    """Hold ``host:wanted`` and yield the port, which differs from ``wanted`` only if that is 0.

    Raises:
        AddressTakenError: the address cannot be bound.
    """
    with bind(host, wanted) as sock:
        if wanted and _others_listen(sock):
            logs.say(
                logs.WARNING,
                "another node of this user listens here too: connections and commands are split between the two",
                address=f"{host}:{wanted}",
            )
        yield int(sock.getsockname()[1])


def _others_listen(sock: socket.socket) -> bool:
    """Return whether another socket listens on the address that ``sock`` is bound to."""
    with socket.socket(sock.family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # lets bind() fail for listening sockets only
        if sock.family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        try:
            probe.bind(sock.getsockname())
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


@contextlib.contextmanager
def listeners(wanted: tuple[Listener, ...]) -> Iterator[tuple[Listener, ...]]:
    """Hold the addresses of all listeners and yield the listeners with their actual ports."""
    with contextlib.ExitStack() as held:
        yield tuple(
            structs.replace(listener, port=held.enter_context(port(listener.host, listener.port)))
            for listener in wanted
        )


@contextlib.contextmanager
def control_socket() -> Iterator[socket.socket]:
    """Hold a listening AF_UNIX socket in a folder that only this user can enter.

    The supervisor holds it instead of control, so that workers' connections wait in its queue while control restarts.
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
    """Hold the lock on the state that the node of the file ``source`` keeps in ``folder``.

    If the folder cannot be locked at all, a warning is logged and the node starts without the lock.

    Raises:
        StateTakenError: another node of the same file holds the lock.
    """
    path = Path(folder) / name_for("lock", source)
    with contextlib.ExitStack() as held:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Not inherited: neither a control that outlives the supervisor nor a draining worker must keep the lock.
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            held.callback(os.close, fd)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StateTakenError(
                f"another node that was started with {source} keeps its state in {folder}: both would overwrite the "
                "spend of keys and the last good configuration; stop that node, or give this one a folder of its own "
                "with node.state_dir or --state-dir"
            ) from error
        except OSError as error:  # a disk that is full, read-only or without locks must not keep a node from serving
            logs.say(
                logs.WARNING,
                "the state folder cannot be locked against other nodes",
                path=str(path),
                error=error.strerror or str(error),
            )
        yield


def _private_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="edge-"))
    if len(str(folder / "control")) > _LONGEST_SOCKET_PATH:
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix="edge-", dir="/tmp"))  # mkdtemp creates it with mode 0700
    return folder


def many_files() -> None:
    """Raise the limit of open files as far as the system lets it, for this process and its children.

    A stream needs two files. Anybody may go up to the hard limit, a privileged process on to ``fs.nr_open``.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (max(hard, _kernel_file_limit()), hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
        except (OSError, ValueError):  # not privileged
            continue
        break
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit < _FEW_FILES:
        logs.say(logs.WARNING, "the limit of open files is low; raise the hard limit (ulimit -Hn)", limit=limit)


def _kernel_file_limit() -> int:
    """Return ``fs.nr_open``, the most files that the kernel lets any process open; 0 if it cannot be read."""
    try:
        return int(_NR_OPEN.read_text())
    except (OSError, ValueError):
        return 0
