"""The banner is correct for people and complete for programs."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest
from plans import SECRET, snapshot

from edge.app.banner import (
    Ready,
    ReadyFileError,
    clear_ready_file,
    lines,
    notify,
    ready_facts,
    show,
    url_of,
    write_ready_file,
)
from edge.app.launch import Launch
from edge.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path


def facts(*simulated: str) -> Ready:
    """Return the facts of a node for the banner."""
    plan = snapshot()
    launch = Launch(
        supervisor=1,
        workers=2,
        listeners=tuple(msgspec.structs.replace(listener, port=4711) for listener in plan.listeners),
        admin_host="127.0.0.1",
        admin_port=9901,
        control_path="",
        control_fd=0,
        shared_state_fd=0,
        answers_fd=0,
        issued_fd=0,
        snapshot_fd=0,
        supervisor_state_fd=0,
        ledger_fd=0,
        pulse_fd=0,
        status_fd=0,
        grace_s=1,
    )
    return ready_facts(launch, plan, list(simulated))


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told_that_the_node_serves(tmp_path: Path, *, abstract: bool) -> None:
    """One datagram is sent to the named socket, a file or an abstract address."""
    address = f"@edge-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.settimeout(10)
        systemd.bind(address.replace("@", "\0", 1))
        notify({"NOTIFY_SOCKET": address})
        assert systemd.recv(4096).decode().splitlines() == ["READY=1", f"MAINPID={os.getpid()}"]


@pytest.mark.parametrize("address", ["", "vsock:2:1234", "/nowhere/at/all"])
def test_nobody_has_to_listen(address: str, caplog: pytest.LogCaptureFixture) -> None:
    """Without systemd nothing is sent; a missing socket is a warning only."""
    notify({"NOTIFY_SOCKET": address} if address else {})
    assert ("systemd cannot be notified" in caplog.text) == address.startswith("/")


@pytest.mark.parametrize(("variable", "word"), [("EDGE_LOG_LEVEL", "loud"), ("EDGE_LOG_FORMAT", "xml")])
def test_a_slip_in_the_environment_is_told_where_it_is(
    variable: str, word: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An invalid variable ends the start with status 2 and is named, before anything runs."""
    monkeypatch.setenv(variable, word)
    with pytest.raises(SystemExit) as ended:
        main(["run"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert f"{word!r} is not one of" in said
    assert variable in said


def test_it_names_what_matters() -> None:
    """Addresses, aliases with their targets in order, and services are shown; credentials are not."""
    text = "\n".join(lines(facts(), snapshot(), 2))
    for part in ("http://127.0.0.1:4711/v1", "http://127.0.0.1:9901", "chat: one/small, then two/big", "billing"):
        assert part in text
    assert "SIMULATED" not in text
    assert SECRET not in text


def test_what_is_printed_can_be_pasted() -> None:
    """The curl command of a simulated start is one shell command per line with valid JSON."""
    text = lines(facts("http://127.0.0.1:9101"), snapshot(), 2)
    assert any("SIMULATED" in line for line in text)
    commands = "\n".join(text).replace("\\\n", "").splitlines()
    pasted = [line for line in commands if line.startswith("  curl ")]
    assert len(pasted) == 2
    for command in pasted:
        shown = subprocess.run(
            ["sh", "-c", command.replace("curl", "printf '%s\\n'", 1)], capture_output=True, text=True, check=True
        )
        body = json.loads(shown.stdout.splitlines()[-1])
        assert body.get("model") == "chat" or body == {"kind": "error"}


def test_the_ready_file_is_all_or_nothing(tmp_path: Path) -> None:
    """The file has every fact, replaces an older one, and is never partial."""
    path = tmp_path / "ready"
    path.write_text("old")
    write_ready_file(path, facts())
    assert msgspec.json.decode(path.read_bytes(), type=Ready) == facts()
    assert [each.name for each in tmp_path.iterdir()] == ["ready"]


def test_a_ready_file_that_cannot_be_written_is_refused_before_anything_runs(tmp_path: Path) -> None:
    """The message names the option; an older file is removed, and nothing is left of the attempt."""
    with pytest.raises(ReadyFileError, match=r"--ready-file: .*/nowhere/ready cannot be written: No such file"):
        clear_ready_file(tmp_path / "nowhere" / "ready")
    (tmp_path / "ready").write_text("old")
    clear_ready_file(tmp_path / "ready")
    assert list(tmp_path.iterdir()) == []


def test_a_ready_file_that_finds_no_room_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The node already serves then: it logs the failure and continues."""
    write_ready_file(tmp_path / "gone" / "ready", facts())
    assert "the ready file cannot be written" in caplog.text


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("::1", "http://[::1]:80"),
        ("edge.test", "http://edge.test:80"),
    ],
)
def test_urls_can_be_called(host: str, url: str) -> None:
    """A wildcard address is shown as an address that this machine can call."""
    assert url_of(host, 80) == url
    assert url_of(host, 80, tls=True) == url.replace("http:", "https:")


@pytest.mark.parametrize("left", ["full", "gone"])
def test_what_cannot_be_printed_stops_nobody(
    left: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk behind stdout, or a closed stdout, is a line in the log, and later output is no error."""
    if left == "full":
        fd, why = os.open("/dev/full", os.O_WRONLY), "No space left on device"
    else:
        reader, fd = os.pipe()
        os.close(reader)
        why = "Broken pipe"
    with os.fdopen(fd, "w", encoding="utf-8") as out:
        monkeypatch.setattr(sys, "stdout", out)
        show(["one", "two"])
        monkeypatch.undo()
        out.flush()
    assert [record.__dict__["facts"] for record in caplog.records] == [{"error": why}]


def test_what_an_encoding_lacks_is_spelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that stdout's encoding lacks, or that is not valid text, is printed with escapes."""
    with (tmp_path / "out").open("w", encoding="ascii") as out:
        monkeypatch.setattr(sys, "stdout", out)
        show(["caf\u00e9", "\udcff"])
        monkeypatch.undo()
    assert (tmp_path / "out").read_text() == "caf\\xe9\n\\udcff\n"
