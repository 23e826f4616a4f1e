"""Announcements of a running node: a banner for people, a JSON file for programs, a notification for systemd.

The file (``--ready-file``) is written atomically, once every process serves. systemd, where it started the node
(``Type=notify``), is notified at the same time.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec import json as msgspec_json

from edge.errors import EdgeError
from edge.telemetry import logs
from edge.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from edge.app.launch import Launch
    from edge.terms.snapshot import Listener, Snapshot


def hold_standard_streams() -> None:
    """Open the null device in place of closed standard streams, for this process and its children.

    Otherwise the next descriptors to be opened would get the numbers 0 to 2, and a print would write to shared memory.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # open() returns the lowest free number: fd
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):  # opened only now: 0 to 2 are in use
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115


def show(texts: Iterable[str]) -> None:
    """Print lines to stdout. A failure (disk full, reader gone) is logged and does not stop the node."""
    text = "\n".join(texts) + "\n"
    encoding = sys.stdout.encoding or "utf-8"
    try:
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except OSError as error:
        logs.say(logs.WARNING, "the banner cannot be printed", error=error.strerror or str(error))
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())  # the text left in the buffer would fail again when the process exits
        os.close(null)


class Ready(Struct, frozen=True):
    """The content of ``--ready-file``."""

    pid: int
    version: str
    listeners: list[str]  # URLs without a path
    admin: str
    models: list[str]
    simulated: list[str]  # URLs of simulated providers


def url_of(host: str, port: int, *, tls: bool = False) -> str:
    """Return a URL that reaches a listener from this machine; a wildcard address becomes the loopback address."""
    reach = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    shown = f"[{reach}]" if ":" in reach else reach
    return f"{'https' if tls else 'http'}://{shown}:{port}"


def ready_facts(launch: Launch, snapshot: Snapshot, simulated: list[str]) -> Ready:
    """Return the content of the ready file of this node."""
    return Ready(
        pid=os.getpid(),
        version=VERSION,
        listeners=[_url(listener) for listener in launch.listeners],
        admin=url_of(launch.admin_host, launch.admin_port),
        models=sorted(snapshot.models),
        simulated=simulated,
    )


class ReadyFileError(EdgeError):
    """The ready file cannot be written."""

    kind = "ready_file"


def clear_ready_file(path: Path) -> None:
    """Remove the ready file of an earlier run, whose addresses are no longer valid, and check that it can be written.

    Raises:
        ReadyFileError: the file cannot be written or removed.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        path.unlink(missing_ok=True)
        partial.touch()
        partial.unlink()
    except OSError as error:
        raise ReadyFileError(f"--ready-file: {path} cannot be written: {error.strerror or error}") from error


def write_ready_file(path: Path, facts: Ready) -> None:
    """Write the ready file atomically. A failure at this point, such as a full disk, is only logged."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(msgspec_json.encode(facts))
        partial.replace(path)
    except OSError as error:
        logs.say(logs.ERROR, "the ready file cannot be written", path=str(path), error=error.strerror or str(error))


def notify(environ: Mapping[str, str]) -> None:
    """Send READY=1 to systemd (sd_notify(3)); does nothing unless ``NOTIFY_SOCKET`` names a socket."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.settimeout(1.0)
            sock.sendto(f"READY=1\nMAINPID={os.getpid()}".encode(), address.replace("@", "\0", 1))
    except OSError as error:
        logs.say(logs.WARNING, "systemd cannot be notified that the node is ready", address=address, error=str(error))


def lines(facts: Ready, snapshot: Snapshot, workers: int) -> list[str]:
    """Return the banner: version, addresses, models, services, and commands to try."""
    shape = "one process" if workers == 0 else f"{workers} worker{'s' if workers > 1 else ''}"
    out = [f"edge {VERSION}  region {snapshot.region}  node {snapshot.node}  {shape}"]
    out += [f"  clients  {url}/v1" for url in facts.listeners]
    out += [f"  admin    {facts.admin}   (edge status --admin {facts.admin})"]
    direct = {target.id for target in snapshot.targets}
    for name, index in sorted(snapshot.models.items()):
        if name in direct:  # "provider/model" needs no explanation
            continue
        members = sorted(snapshot.routes[index].members, key=lambda member: member.tier)
        out.append(f"  model    {name}: " + ", then ".join(snapshot.targets[member.target].id for member in members))
    for match in snapshot.services:
        out.append(f"  service  {snapshot.routes[match.route].name}: {match.host or 'any host'}{match.path or '/'}")
    if facts.simulated:
        out += [
            "",
            "No configuration was given and no provider's key is in the environment (OPENAI_API_KEY,",
            "ANTHROPIC_API_KEY, DEEPSEEK_API_KEY, GEMINI_API_KEY), so SIMULATED providers answer:",
            *(f"  {url}" for url in facts.simulated),
        ]
    if facts.models and facts.listeners:
        model = "chat" if "chat" in facts.models else facts.models[0]
        out += ["", "Try it:", *_curl(facts.listeners[0], model)]
    if facts.simulated:
        fault = json.dumps({"kind": "error"})
        out += [
            "Make the first provider fail and try again (-X DELETE in place of -d and -H brings it back):",
            f"  curl -s {facts.simulated[0]}/_sim/fault -H 'content-type: application/json' -d '{fault}'",
        ]
    return [*out, ""]


def _curl(url: str, model: str) -> list[str]:
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hello"}]})
    return [f"  curl -s {url}/v1/chat/completions -H 'content-type: application/json' \\", f"    -d '{body}'"]


def _url(listener: Listener) -> str:
    return url_of(listener.host, listener.port, tls=bool(listener.tls))
