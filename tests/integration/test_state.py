"""A node without its configuration serves by the last good one, and trusts nothing else in its state directory."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from nodes import KEY, RunningNode, chat_config
from soon import until

from edge import clock
from edge.app import bindings
from edge.app.bootstrap import from_file, spell_age
from edge.control.compose import compile_config, load_checked
from edge.control.kept_file import StateUnusableError
from edge.control.recorder import AGAIN_NS, Recorder
from edge.control.state import StateFile, default_folder
from edge.errors import ConfigInvalidError

if TYPE_CHECKING:
    from edge.sim.provider import SimProvider

ADDRESSES = {"listen": [{"address": "127.0.0.1:0"}], "admin": {"address": "127.0.0.1:0"}}
GOOD = {**ADDRESSES, **chat_config("http://127.0.0.1:9")}


def write(folder: Path, config: dict[str, Any]) -> Path:
    """Write the file in place."""
    (folder / "edge.yaml").write_bytes(msgspec.json.encode(config))
    return folder / "edge.yaml"


def kept(folder: Path) -> StateFile:
    """Save a good configuration in ``folder/state``; return its place."""
    path = write(folder, GOOD)
    config = load_checked(path)
    file = StateFile(folder / "state", str(path))
    file.write(config, compile_config(config, now=1_700_000_000.0), 1_700_000_001.0)
    return file


async def on_disk(node: RunningNode, after: float = 0.0) -> float:
    """Wait until the state was written later than ``after``; return when. Serving does not wait for the disk."""
    async with asyncio.timeout(20):
        while True:
            written: float = (await node.get("/api/node"))[1]["state_written"]
            if written > after:
                return written
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("how", ["missing", "broken"])
async def test_it_starts_from_the_last_good_one(tmp_path: Path, provider: SimProvider, how: str) -> None:
    """The node serves by the saved state, warns of its age, continues the versions, and loads a repaired file."""
    good = chat_config(provider.url)
    async with RunningNode(tmp_path, good, "--workers", "1") as node:
        first = await on_disk(node)
        (file,) = (tmp_path / "state").glob("snapshot-*")
        assert file.stat().st_mode & 0o777 == 0o600
        write(tmp_path, {**ADDRESSES, **good, "limits": {"connections": 99}})
        assert (await node.send("POST", "/api/reload"))[1]["version"] == 2
        written = await on_disk(node, first)
        node.tell(signal.SIGTERM)
        assert await node.status() == 0
    path = tmp_path / "edge.yaml"
    if how == "missing":
        path.unlink()
    else:
        path.write_text("models: {chat: [")
    node = RunningNode(tmp_path, None, "--workers", "1", "-c", str(path))
    async with node:
        assert (await node.ask()).status == 200
        assert "STARTED FROM THE LAST GOOD CONFIGURATION" in node.out()
        assert "STARTED FROM THE LAST GOOD CONFIGURATION" in node.log()
        assert KEY not in node.out() + node.log()
        assert (await node.get("/api/snapshot"))[1]["version"] == 2
        assert (await node.get("/api/snapshot"))[1]["limits"]["connections"] == 99
        state = (await node.get("/api/node"))[1]
        assert 0 < state["started_from"] <= written + 60
        assert "edge_started_from_state 1" in (await node.get("/metrics"))[1]
        command = [sys.executable, "-m", "edge", "status", "--admin", node.admin]
        shown = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)
        assert "the last good configuration is in force" in shown.stdout
        write(tmp_path, {**ADDRESSES, **good, "limits": {"connections": 98}})
        assert (await node.send("POST", "/api/reload"))[1] == {"version": 3, "changed": True, "workers": 1}
        assert (await node.get("/api/node"))[1]["started_from"] is None


async def test_a_full_disk_is_a_warning(tmp_path: Path, provider: SimProvider) -> None:
    """A failed write is logged and counted; the node serves, reloads and ends as usual."""
    (tmp_path / "blocked").write_text("a file where the folder should be")
    arguments = ("--workers", "1", "--state-dir", str(tmp_path / "blocked"))
    async with RunningNode(tmp_path, chat_config(provider.url), *arguments) as node:
        await until(lambda: "cannot be written to disk" in node.log(), 40)
        assert (await node.ask()).status == 200
        assert "edge_state_write_failures_total 1" in (await node.get("/metrics"))[1]
        node.tell(signal.SIGTERM)
        assert await node.status() == 0


async def test_no_space_leaves_the_last_one_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ENOSPC at the fsync is counted, leaves no partial file, and the old state can still be read."""
    file = kept(tmp_path)
    stored = file.read()
    assert stored is not None

    def full(_fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    recorder = Recorder(file)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        recorder.record(stored.config, stored.snapshot)
        await recorder.stop()
    assert (recorder.failures, recorder.written) == (1, 0.0)
    assert list(file.path.parent.iterdir()) == [file.path]
    assert file.read() == stored
    assert recorder.error == os.strerror(errno.ENOSPC)
    soon, then = clock.now_ns() + AGAIN_NS // 2, clock.now_ns() + AGAIN_NS
    for now_ns, written in ((soon, False), (then, True), (then + AGAIN_NS, True)):
        recorder.poll(now_ns)
        await recorder.stop()
        assert (recorder.failures, recorder.written > 0) == (1, written)
        assert (recorder.error == "") == written


def test_what_was_kept_is_what_is_found(tmp_path: Path) -> None:
    """Configuration, secrets and Snapshot read back equal, and a node without a state finds none."""
    file = kept(tmp_path)
    stored = file.read()
    assert stored is not None
    assert stored.config == load_checked(tmp_path / "edge.yaml")
    assert stored.snapshot == compile_config(stored.config, now=1_700_000_000.0)
    assert stored.written == 1_700_000_001.0
    assert repr(stored.config.providers["p0"].api_key) == "'***'"
    assert StateFile(tmp_path / "state", "/another/edge.yaml").read() is None


def damage(path: Path, how: str) -> None:
    """Damage the state as disks and users do."""
    data = path.read_bytes()
    if how == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "flipped":
        path.write_bytes(data[:-10] + bytes([data[-10] ^ 1]) + data[-9:])
    elif how == "foreign":
        path.write_text("something else entirely\n" * 10)
    elif how == "open":
        path.chmod(0o644)
    elif how == "folder":
        path.unlink()
        path.mkdir()
    elif how == "link":
        path.rename(path.with_name("elsewhere"))
        path.symlink_to("elsewhere")


@pytest.mark.parametrize("how", ["cut", "empty", "flipped", "foreign", "open", "folder", "link"])
def test_what_is_not_ours_is_refused(tmp_path: Path, how: str) -> None:
    """A damaged, foreign or world-writable state is refused with the file's name and the problem."""
    file = kept(tmp_path)
    damage(file.path, how)
    with pytest.raises(StateUnusableError, match=r"state|edge"):
        file.read()
    (tmp_path / "edge.yaml").unlink()
    with pytest.raises(ConfigInvalidError) as refused:
        from_file(tmp_path / "edge.yaml", str(tmp_path / "state"), {})
    assert len(refused.value.problems) == 2
    assert "cannot be read: No such file" in refused.value.problems[0]
    assert str(file.path) in refused.value.problems[1]


def test_another_ones_state_is_not_taken(tmp_path: Path) -> None:
    """A state that was renamed for another file is refused with both names."""
    file = kept(tmp_path)
    other = StateFile(tmp_path / "state", "/etc/other.yaml")
    file.path.rename(other.path)
    with pytest.raises(StateUnusableError, match=r"belongs to .*edge\.yaml, not to /etc/other\.yaml"):
        other.read()


def test_without_state_a_bad_file_is_only_a_bad_file(tmp_path: Path) -> None:
    """A first start with an invalid file ends with its problems, and nothing is written."""
    path = write(tmp_path, {"modles": {}})
    with pytest.raises(ConfigInvalidError, match="did you mean models"):
        from_file(path, str(tmp_path / "state"), {})
    assert not (tmp_path / "state").exists()


def test_where_it_is_kept(tmp_path: Path) -> None:
    """The place is the argument, the file's setting, or XDG_STATE_HOME; an empty text disables the state."""
    path = write(tmp_path, GOOD)
    environ = {"XDG_STATE_HOME": str(tmp_path / "xdg")}
    assert from_file(path, None, environ).state_dir == str(tmp_path / "xdg" / "edge")
    assert from_file(path, "", environ).state_dir == ""
    assert from_file(path, str(tmp_path / "asked"), environ).state_dir == str(tmp_path / "asked")
    write(tmp_path, {**GOOD, "node": {"state_dir": "beside"}})
    assert from_file(path, None, environ).state_dir == str(tmp_path / "beside")
    write(tmp_path, {**GOOD, "node": {"state_dir": ""}})
    assert from_file(path, None, environ).state_dir == ""
    assert default_folder({}) in (None, Path("/var/lib/edge"))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-5, "0 s"),
        (59, "59 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7199, "119 min"),
        (7200, "2 h"),
        (86400, "24 h"),
        (200000, "2 days"),
    ],
)
def test_ages_are_said_as_people_do(seconds: float, said: str) -> None:
    """An age is a number and a unit."""
    assert spell_age(seconds) == said


def test_a_state_is_one_nodes(tmp_path: Path) -> None:
    """A second node with the same file and folder is refused with a remedy; other files do not collide."""
    folder = str(tmp_path / "state")
    with bindings.state(folder, "/etc/edge.yaml"):
        with bindings.state(folder, "/etc/other.yaml"), bindings.state(str(tmp_path), "/etc/edge.yaml"):
            pass
        with (
            pytest.raises(
                bindings.StateTakenError, match=rf"/etc/edge.yaml keeps its state in {folder}: .*--state-dir"
            ),
            bindings.state(folder, "/etc/edge.yaml"),
        ):
            pass
    with bindings.state(folder, "/etc/edge.yaml"):
        pass


def test_a_folder_that_cannot_be_locked_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A node serves even if its state folder is full or cannot be locked."""
    (tmp_path / "file").write_text("")
    with bindings.state(str(tmp_path / "file"), "/etc/edge.yaml"):
        assert "cannot be locked against other nodes" in caplog.text


async def test_a_second_node_of_the_same_state_does_not_start(tmp_path: Path, provider: SimProvider) -> None:
    """A second node is refused while the first runs, whatever happens to its children, and not after its death."""
    config = chat_config(provider.url)
    first = RunningNode(tmp_path, config, "--workers", "1")
    (tmp_path / "second").mkdir()
    second = RunningNode(tmp_path / "second", config, "--workers", "1", "--state-dir", str(tmp_path / "state"))
    second._arguments[-1] = str(tmp_path / "edge.yaml")
    hung = 0
    try:
        async with first:
            first.tell(signal.SIGKILL, "control")
            second.start()
            assert await second.status() == 1
            assert f"keeps its state in {tmp_path / 'state'}: both would overwrite" in second.log()
            hung = first.children()["worker 0"]
            os.kill(hung, signal.SIGSTOP)  # a child that outlives its supervisor for as long as we like
            os.kill(first.pid, signal.SIGKILL)
            await until(first.ended, 10)
            async with second:
                assert (await second.ask()).status == 200
    finally:
        if hung:
            os.kill(hung, signal.SIGKILL)
