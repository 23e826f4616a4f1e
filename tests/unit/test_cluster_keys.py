"""Keys in the store: what is believed of it, what workers and the disk get, and what one change costs."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest
from soon import until

from edge import clock
from edge.admission.key_documents import KeyDocument, encode, secret_of
from edge.admission.keys import sha256_of
from edge.app.key_follower import KeyFollower
from edge.cluster.memory import MemoryCluster
from edge.config.fields import Secret
from edge.config.schema import Config, Model, Provider
from edge.config.schema_cluster import Cluster, Etcd
from edge.config.schema_keys import Key
from edge.config.schema_listen import Listen
from edge.config.schema_peers import Peers
from edge.config.schema_targets import ModelTarget
from edge.control import key_book
from edge.control.checked_key import checked_key
from edge.control.compose import compile_config
from edge.control.kept_file import StateUnusableError
from edge.control.key_book import KeyBook
from edge.control.key_cells import KeyCells, KeyFile
from edge.control.members import Members
from edge.control.shared_keys import KeyExistsError, SharedKeys, UnknownKeyError
from edge.errors import ConfigInvalidError
from edge.native import Callers, SharedState
from edge.terms.ports import Write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.terms.ports import Store

SECRET = b"s" * 32
NOW = 1_800_000_000.0


class Bench:
    """A book, its cells, and a worker that reads them."""

    def __init__(self, most: int = 64) -> None:
        self.shared_state = SharedState.create(1, 1, 1, 0, 8, most)
        self.cells = KeyCells.create()
        self.anew = 0
        self.restored: list[tuple[str, int]] = []
        self.book = self.new_book()
        self.worker = KeyFollower(self.cells, self.shared_state, 1, self._routed)

    def new_book(self) -> KeyBook:
        """Return a book as a new control process has it."""
        return KeyBook(self.cells, self.shared_state, lambda name, slot: self.restored.append((name, slot)))

    def _routed(self) -> None:
        self.anew += 1

    def take(self, document: KeyDocument, *, secret: bytes = SECRET, name: str = "", now: float = NOW) -> bool:
        """Let the store say something; return whether it changed anything."""
        name = name or document.key.name
        change = self.book.take(name, encode(document, secret), SECRET, now)
        if change is not None:
            self.book.publish([change])
        return change is not None

    def caller(self, digit: str) -> str | None:
        """Return the name of the caller whose key has this digest, as the worker knows it."""
        return named(self.worker, digit)

    def close(self) -> None:
        """Close the cells."""
        for fd in self.cells.fds:
            os.close(fd)


def named(worker: KeyFollower, digit: str) -> str | None:
    """Return the name of the caller whose key's SHA-256 is this digit, repeated."""
    entry = worker.table.lookup(bytes.fromhex(digit * 64))
    return None if entry is None else entry.name


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Return an empty cluster that is known."""
    made = Bench()
    made.book.finish()
    made.worker.load()
    yield made
    made.close()


def document(name: str, digit: str, generation: int = 1, **more: object) -> KeyDocument:
    """Return a document of a key whose SHA-256 is one digit, repeated."""
    return KeyDocument(Key(name, sha256=digit * 64), generation, NOW, **more)  # type: ignore[arg-type]  # as a keyword


def test_only_what_an_edge_has_written_counts(bench: Bench) -> None:
    """No MAC of another secret, no document under another name, no garbage, no earlier generation, no deletion."""
    assert bench.take(document("a", "1", 2))
    assert not bench.take(document("b", "2"), secret=b"x" * 32)
    assert not bench.take(document("a", "1", 3), name="b")
    for value in (b"", b"x" * 10, b"x" * 100, b"\0" * 70_000):
        assert bench.book.take("b", value, SECRET, NOW) is None
    assert not bench.take(document("a", "3", 1))  # what was rotated away is put back
    assert not bench.take(document("a", "3", 2))  # another content of the same generation
    assert bench.book.take("a", None, SECRET, NOW) is None
    bench.worker.refresh()
    assert [bench.caller(digit) for digit in "123"] == ["a", None, None]
    assert bench.take(KeyDocument(Key("a"), 3, NOW, revoked=True))
    assert not bench.take(document("a", "1", 2))  # ... after its revocation
    bench.worker.refresh()
    assert bench.caller("1") is None


def test_the_key_before_a_rotation_counts_as_long_as_it_says(bench: Bench) -> None:
    """Both lead to the same record until the overlap is over; then only the new one does."""
    bench.take(document("a", "1"))
    bench.take(document("a", "2", 2, previous="1" * 64, previous_until=NOW + 60))
    bench.worker.refresh()
    first, second = (bench.worker.table.lookup(bytes.fromhex(digit * 64)) for digit in "12")
    assert first is not None
    assert second is not None
    assert first.plan.slot == second.plan.slot
    assert bench.book.expire(NOW + 59) == []
    bench.book.publish(bench.book.expire(NOW + 60))
    bench.worker.refresh()
    assert (bench.caller("1"), bench.caller("2")) == (None, "a")


def test_a_change_is_read_without_the_rest(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker goes on through a new base without reading it; one that missed changes reads everything."""
    monkeypatch.setattr(key_book, "MOST_CHANGES", 3)
    late = KeyFollower(bench.cells, bench.shared_state, 1, lambda: None)
    for number in range(10):
        assert bench.take(document(f"k{number}", f"{number}"))
        with monkeypatch.context() as patch:
            patch.setattr(bench.worker, "_load", lambda: pytest.fail("the base was read"))
            bench.worker.refresh()
    assert len(bench.worker.table) == 10
    late.load()
    assert len(late.table) == 10


async def test_many_changes_at_once_are_read_between_turns(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The base replaces what the worker knew in one step, also what came while it was read."""
    monkeypatch.setattr(key_book, "MOST_CHANGES", 3)
    taken = [bench.book.take(f"k{n}", encode(document(f"k{n}", f"{n}"), SECRET), SECRET, NOW) for n in range(6)]
    bench.book.publish([change for change in taken if change is not None])
    early = KeyFollower(bench.cells, bench.shared_state, 1, lambda: None)  # which has read nothing at all
    for worker in (bench.worker, early):
        worker.refresh()
        assert len(worker.table) == 0
    bench.take(document("late", "a"))
    bench.worker.refresh()
    await until(lambda: len(bench.worker.table) == len(early.table) == 7)


def test_control_goes_on_where_its_predecessor_was_killed(bench: Bench) -> None:
    """The next control process knows records, generations and marks of revoked keys from memory."""
    bench.take(document("a", "1"))
    bench.take(document("b", "2"))
    bench.take(KeyDocument(Key("b"), 2, NOW, revoked=True))
    slot = bench.restored[0][1]
    bench.book = bench.new_book()
    bench.book.recall()
    assert bench.book.complete
    assert not bench.take(document("b", "2"))
    assert bench.take(document("a", "3", 2))
    bench.worker.refresh()
    caller = bench.worker.table.lookup(bytes.fromhex("3" * 64))
    assert caller is not None
    assert caller.plan.slot == slot
    assert bench.take(document("c", "4"))
    assert len({slot for _, slot in bench.restored}) == 3


async def test_a_worker_reads_once_what_control_was_killed_in(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between base and changes: no worker reads the base again and again, and the next control tells all."""
    bench.take(document("a", "1"))
    bench.worker.refresh()

    def killed(_: object) -> None:
        raise SystemExit

    monkeypatch.setattr(key_book, "MOST_CHANGES", 1)
    with monkeypatch.context() as patch:
        patch.setattr(bench.cells.changes, "keep", killed)
        with pytest.raises(SystemExit):
            bench.take(KeyDocument(Key("a"), 2, NOW, revoked=True))
    late = KeyFollower(bench.cells, bench.shared_state, 1, lambda: None)
    late.load()
    reads = 0
    load = late._load

    async def counted() -> None:
        nonlocal reads
        reads += 1
        await load()

    monkeypatch.setattr(late, "_load", counted)
    late.refresh()
    bench.worker.refresh()
    for _ in range(20):
        await asyncio.sleep(0.001)
    assert (reads, named(late, "1"), bench.caller("1")) == (0, None, "a")
    bench.book = bench.new_book()
    bench.book.recall()
    bench.worker.refresh()
    await until(lambda: bench.caller("1") is None)


def test_a_key_that_the_file_has_given_back_counts_after_a_restart_of_control(bench: Bench) -> None:
    """Control was down while the file lost the key of that name; what was revoked stays revoked."""
    bench.take(document("a", "1"))
    bench.take(document("b", "2"))
    bench.take(KeyDocument(Key("b"), 2, NOW, revoked=True))
    bench.book.publish(bench.book.yield_to({"a"}, NOW))
    bench.book = bench.new_book()
    bench.book.recall()
    changes = bench.book.yield_to(set(), NOW)
    assert [change.entry.name for change in changes] == ["a"]
    bench.book.publish(changes)
    bench.worker.refresh()
    assert (bench.caller("1"), bench.caller("2")) == ("a", None)


def test_the_disk_has_what_counts(bench: Bench, tmp_path: Path) -> None:
    """A node that starts without the store knows its last keys, without what was revoked; damage is told."""
    file = KeyFile(tmp_path, "edge.yaml")
    assert file.read() is None
    bench.take(document("a", "1"))
    bench.take(document("b", "2"))
    file.write(*bench.book.written)
    bench.take(KeyDocument(Key("b"), 2, NOW, revoked=True))
    file.write(None, bench.book.written[1])
    other = Bench()
    entries = file.read()
    assert entries is not None
    other.book.restore(entries, NOW)
    other.worker.load()
    assert (other.caller("1"), other.caller("2"), other.book.complete) == ("a", None, True)
    assert not other.take(document("b", "2"))
    other.close()
    Path(file.path).write_bytes(b"edge-keys 1\n" + b"x" * 100)
    with pytest.raises(StateUnusableError):
        file.read()


def test_keys_of_the_file_come_first(bench: Bench) -> None:
    """A key of the cluster does not count while the file has its name, and counts again afterwards."""
    bench.take(document("a", "1"))
    bench.book.publish(bench.book.yield_to({"a"}, NOW))
    bench.worker.refresh()
    assert bench.caller("1") is None
    bench.book.publish(bench.book.yield_to(set(), NOW))
    bench.worker.refresh()
    assert bench.caller("1") == "a"


def test_records_are_bounded_and_used_again() -> None:
    """Of more keys than records the rest does not count; a revoked key makes room, and is not forgotten."""
    bench = Bench(most=2)
    bench.book.finish()
    bench.worker.load()
    assert [bench.take(document(name, digit)) for name, digit in (("a", "1"), ("b", "2"), ("c", "3"))] == [
        True,
        True,
        False,
    ]
    assert bench.take(KeyDocument(Key("a"), 2, NOW, revoked=True))
    assert bench.take(document("c", "3"))
    assert not bench.take(document("a", "1"))
    bench.worker.refresh()
    assert [bench.caller(digit) for digit in "123"] == [None, "b", "c"]
    assert len({slot for _, slot in bench.restored}) == 2
    bench.close()


def test_only_used_keys_are_accounted(bench: Bench) -> None:
    """Control looks at keys that workers have used: the others cost nothing every second."""
    for number in range(5):
        bench.take(document(f"k{number}", f"{number}"))
    bench.worker.refresh()
    assert bench.book.used() == []
    assert bench.caller("3") == "k3"
    assert [key.name for key in bench.book.used()] == ["k3"]


def test_a_key_of_the_file_and_one_of_the_cluster_are_found(bench: Bench) -> None:
    """Callers look at the Snapshot first, then at the cluster's keys, whose limits hold."""
    limited = KeyDocument(Key("b", sha256=sha256_of("cluster"), requests_per_minute=60, requests_burst=1), 1, NOW)
    bench.take(limited)
    bench.worker.refresh()
    config = Config(keys=(Key("a", sha256=sha256_of("file")),))
    snapshot = compile_config(config, now=NOW)
    callers = Callers(bench.shared_state, snapshot.keys, 1, bench.worker.table)
    found = [callers.identify([(b"x-api-key", key)])[0] for key in (b"file", b"cluster", b"neither")]
    assert [caller and caller.name for caller in found] == ["a", "b", None]
    allowance = found[1].allowance if found[1] is not None else None
    assert allowance is not None
    assert [allowance.take(1)[0] != 0 for _ in range(2)] == [False, True]


class Nodes:
    """Two nodes of one cluster in memory."""

    def __init__(self, folder: Path) -> None:
        self.cluster = MemoryCluster()
        self.config = Config()
        self.secrets = [SECRET, SECRET]
        self.benches = [Bench(), Bench()]
        self.files = [KeyFile(folder / name, "edge.yaml") for name in "ab"]
        self.keys = [self.node(index) for index in range(2)]

    def node(self, index: int) -> SharedKeys:
        """Return a node's keys, not started."""
        bench = self.benches[index]
        return SharedKeys(
            bench.book,
            self.cluster.client(),
            members=Members(bench.book, bench.shared_state, lambda: self.config, clock),
            secret=lambda: self.secrets[index],
            config=lambda: self.config,
            told=bench.worker.refresh,
            file=self.files[index],
        )

    async def __aenter__(self) -> Self:
        for keys in self.keys:
            await keys.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for keys in self.keys:
            await keys.stop()
        for bench in self.benches:
            bench.close()

    def store(self) -> Store:
        """Return the store as anybody has it."""
        return self.cluster.client()


async def test_nodes_agree_through_the_store(tmp_path: Path) -> None:
    """Made, rotated and revoked on either node; names are taken once; a revoked one can be made again."""
    async with Nodes(tmp_path) as nodes:
        one, two = nodes.keys
        await one.create(Key("a", sha256="1" * 64))
        await until(lambda: nodes.benches[1].caller("1") == "a")
        with pytest.raises(KeyExistsError):
            await two.create(Key("a", sha256="2" * 64))
        await two.rotate("a", "2" * 64, 0)
        await until(lambda: (nodes.benches[0].caller("1"), nodes.benches[0].caller("2")) == (None, "a"))
        await one.revoke("a")
        assert nodes.benches[0].caller("2") is None
        await until(lambda: nodes.benches[1].caller("2") is None)
        for name in ("a", "never"):
            with pytest.raises(UnknownKeyError):
                await two.revoke(name)
        assert (await two.create(Key("a", sha256="3" * 64)))["generation"] == 4
        await until(lambda: nodes.benches[0].caller("3") == "a")
        number, shown = one.listed("", 10)
        assert (number, shown[0]["state"], shown[0]["sha256"]) == (1, "active", "33333333")


async def test_a_wiped_store_revokes_nothing(tmp_path: Path) -> None:
    """Keys whose documents are gone stay, and the list says so; the next change writes the document again."""
    async with Nodes(tmp_path) as nodes:
        await nodes.keys[0].create(Key("a", sha256="1" * 64))
        await until(lambda: nodes.benches[1].caller("1") == "a")
        await nodes.store().txn((), (Write("a", None),))
        await until(lambda: not nodes.keys[1].listed("", 1)[1][0]["in_store"])
        assert nodes.benches[1].caller("1") == "a"
        await nodes.keys[1].rotate("a", "2" * 64, 0)
        await until(lambda: nodes.benches[0].caller("2") == "a")


async def test_ten_times_as_many_changes_cost_ten_times_as_much(tmp_path: Path) -> None:
    """What waits to be taken is not searched for each time: 100,000 names once took seconds, and mostly for that."""
    spent = []
    async with Nodes(tmp_path) as nodes:
        keys = nodes.keys[0]
        for count in (10_000, 100_000):
            began = time.process_time()
            keys._changed(dict.fromkeys(map(str, range(count))))
            await until(lambda: not keys._pending)
            spent.append(time.process_time() - began)
    assert spent[1] < 30 * spent[0]


async def test_two_keys_are_not_the_same(tmp_path: Path) -> None:
    """To revoke one of them would leave the other, or end it, as each worker happens to have read them."""
    async with Nodes(tmp_path) as nodes:
        nodes.config = Config(keys=(Key("f", sha256="F" * 64),))
        keys = nodes.keys[0]
        for name, digit in (("a", "1"), ("b", "2")):
            await keys.create(Key(name, sha256=digit * 64))
        for digit, owner in (("1", "a"), ("f", "f")):
            with pytest.raises(KeyExistsError, match=f"the same key as {owner};"):
                await keys.create(Key("c", sha256=digit * 64))
            with pytest.raises(KeyExistsError, match=f"the same key as {owner};"):
                await keys.rotate("b", digit * 64, 0)


async def test_a_new_secret_makes_documents_count(tmp_path: Path) -> None:
    """While nodes get another ``peers.token`` one by one, a revocation under the new one counts where it arrives."""
    async with Nodes(tmp_path) as nodes:
        one, two = nodes.keys
        await one.create(Key("a", sha256="1" * 64))
        await until(lambda: nodes.benches[1].caller("1") == "a")
        nodes.secrets[0] = b"n" * 32
        one.follow()
        await one.revoke("a")
        await until(lambda: two.state().unread == 1)
        assert nodes.benches[1].caller("1") == "a"
        nodes.secrets[1] = b"n" * 32
        two.follow()
        await until(lambda: nodes.benches[1].caller("1") is None)


async def test_a_forged_document_is_written_over(tmp_path: Path) -> None:
    """Whoever can write the store cannot take a name away."""
    async with Nodes(tmp_path) as nodes:
        await nodes.store().txn((), (Write("a", encode(document("a", "f", 99), b"x" * 32)),))
        await nodes.keys[0].create(Key("a", sha256="1" * 64))
        await until(lambda: nodes.benches[1].caller("1") == "a")
        assert nodes.benches[1].caller("f") is None


def test_what_a_key_may_say_is_checked_as_in_a_file() -> None:
    """Problems are those of the file's checks; a key of the store cannot claim identities."""
    config = Config()
    assert checked_key({"name": "a", "sha256": "A" * 64, "budget": 5}, config) == Key("a", sha256="a" * 64, budget=5)
    for entry, said in (
        ({"name": "a b", "sha256": "a" * 64}, "a key's name"),
        ({"name": "a"}, "sha256"),
        ({"name": "a", "sha256": "edge-clear"}, "this is a key"),
        ({"name": "a", "sha256": "a" * 64, "models": ["none"]}, "there is no model"),
        ({"name": "a", "sha256": "a" * 64, "requests_per_minute": -1}, "requests_per_minute"),
        ({"name": "a", "sha256": "a" * 64, "groups": ["g"]}, "only keys of the file"),
        ({"name": "a", "sha256": "a" * 64, "budgets": 5}, "unknown key"),
    ):
        with pytest.raises(ConfigInvalidError) as refused:
            checked_key(entry, config)
        assert said in "; ".join(refused.value.problems)


def test_a_key_may_use_models_of_any_name() -> None:
    """What JSON writes as two halves of a character is the name that the file has."""
    name = "\U0001f600\u2028\x7f"
    config = Config(
        providers={"p": Provider(base_url="http://h/v1")}, models={name: Model(targets=(ModelTarget("p/m"),))}
    )
    entry = {"name": "a", "sha256": "a" * 64, "models": [name]}
    assert checked_key(entry, config).models == (name,)
    with pytest.raises(ConfigInvalidError) as refused:
        checked_key({**entry, "\U0001f600": 1}, config)
    assert "; ".join(refused.value.problems).encode()


def test_where_keys_in_the_store_count() -> None:
    """With a secret that the store does not have, or where nobody else can write; then other machines need a key."""
    far, near = Etcd(endpoints=("https://10.0.0.1:2379",)), Etcd(endpoints=("http://127.0.0.1:2379",))

    def config(etcd: Etcd | None, token: str = "", **more: bool) -> Config:
        listen = (Listen("0.0.0.0:8080"),)
        return Config(cluster=Cluster(etcd=etcd), peers=Peers(token=Secret(token), **more), listen=listen)

    secrets = [secret_of(each) for each in (config(far, "t" * 16), config(far, "u" * 16), config(near))]
    assert len({secret for secret in secrets if secret}) == 3
    assert secret_of(config(far)) is None
    assert secret_of(config(None, "t" * 16)) is None
    assert compile_config(config(far, "t" * 16), now=NOW).demands_keys
    assert not compile_config(config(far), now=NOW).demands_keys


async def test_a_full_disk_is_told_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys count although they cannot be written, the state says why, and the next minute writes them."""
    async with Nodes(tmp_path) as nodes:
        keys, file = nodes.keys[0], nodes.files[0]

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(KeyFile, "write", full)
            await keys.create(Key("a", sha256="1" * 64))
            assert "No space" in keys.state().disk_error
        await keys.create(Key("b", sha256="2" * 64))
        assert keys.state().disk_error == ""
        entries = file.read()
        assert entries is not None
        assert set(entries) == {"a", "b"}
