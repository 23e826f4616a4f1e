"""``edge cluster status`` shows the state of the members; its exit status tells whether writes are possible."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from worlds import running_etcd

from edge.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from edge.sim.etcd import EtcdCluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[EtcdCluster]:
    """Run three members for one test."""
    with running_etcd(tmp_path) as made:
        yield made


def written(folder: Path, endpoints: Sequence[str]) -> str:
    """Write a configuration with these members; return its path."""
    file = folder / "edge.yaml"
    file.write_text(
        "providers: {openai: {api_key: k}}\nmodels: {m: {targets: [openai/m]}}\n"
        f"cluster: {{etcd: {{endpoints: {json.dumps(list(endpoints))}, timeout: 1s}}}}\n",
        encoding="utf-8",
    )
    return str(file)


def asked(capsys: pytest.CaptureFixture[str], file: str) -> tuple[int, list[dict[str, Any]]]:
    """Return the exit status and the printed JSON."""
    status = main(["cluster", "status", "-c", file, "--json"])
    return status, json.loads(capsys.readouterr().out)


def test_members_are_told_and_so_is_what_is_wrong(
    cluster: EtcdCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All healthy gives 0; one of three down gives 0 and a message; the majority down gives 1 and no leader."""
    file = written(tmp_path, cluster.endpoints)
    status, members = asked(capsys, file)
    assert status == 0
    assert [member["url"] for member in members] == list(cluster.endpoints)
    assert sum(member["leads"] for member in members) == 1
    assert all(member["has_leader"] and member["revision"] >= 1 and member["size"] > 0 for member in members)

    follower = next(member for member in cluster.members if member is not cluster.leader())
    follower.kill()
    assert main(["cluster", "status", "-c", file]) == 0
    out = capsys.readouterr().out
    assert "leader" in out
    assert f"no connection ({follower.url})" in out

    cluster.leader().stall()
    status, members = asked(capsys, file)
    assert status == 1
    assert sum(bool(member["error"]) for member in members) == 2


def test_a_file_without_a_store_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A configuration without a cluster gives a message and status 1."""
    file = tmp_path / "edge.yaml"
    file.write_text("providers: {openai: {api_key: k}}\nmodels: {m: {targets: [openai/m]}}\n", encoding="utf-8")
    assert main(["cluster", "status", "-c", str(file)]) == 1
    assert "has no cluster.etcd" in capsys.readouterr().err
