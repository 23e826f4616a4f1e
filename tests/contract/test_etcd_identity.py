"""Authentication of edge and etcd: users and passwords, roles, expiring tokens, certificates."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from soon import until
from worlds import InEtcd, following, running_etcd

from edge.errors import StoreRefusedError
from edge.sim.etcd import Certificates, EtcdCluster, binary

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

PASSWORD = "correct horse battery"
ROOT = "the root's password"


def etcdctl(cluster: EtcdCluster, *words: str) -> str:
    """Run etcdctl; return its output."""
    command = [binary().with_name("etcdctl"), f"--endpoints={','.join(cluster.endpoints)}", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    """Run three members with users: edge may use /mine only. Tokens expire after 2 s of silence."""
    flags = ["--auth-token-ttl=2", "--bcrypt-cost=4"]
    with running_etcd(tmp_path_factory.mktemp("guarded"), flags=flags) as cluster:
        for words in (
            ("user", "add", f"root:{ROOT}"),
            ("user", "grant-role", "root", "root"),
            ("user", "add", f"edge:{PASSWORD}"),
            ("role", "add", "edges"),
            ("role", "grant-permission", "edges", "--prefix=true", "readwrite", "/mine/"),
            ("user", "grant-role", "edge", "edges"),
            ("auth", "enable"),
        ):
            etcdctl(cluster, *words)
        yield cluster


@pytest.fixture
async def users(guarded: EtcdCluster) -> AsyncIterator[InEtcd]:
    """Return clients that log in as edge."""
    made = InEtcd(guarded, user="edge", password=PASSWORD)
    made.prefix = f"/mine{made.prefix}"
    yield made
    await made.close()


async def test_a_user_does_everything_under_its_prefix(users: InEtcd) -> None:
    """With readwrite on the prefix every kind of call works, with leases and watches."""
    store = users.client()
    lease = await store.grant(30)
    revision = await store.put("a", b"1", lease=lease)
    assert (await store.get("a")).value == b"1"
    await store.keep(lease)
    async with following(users.client()) as follower:
        assert set(follower.held) == {"a"}
        assert await store.txn((), ()) is not None
        assert await store.delete("a")
        await until(lambda: follower.held == {}, 60)
    assert (await store.list("")).revision > revision
    await store.revoke(lease)


async def test_a_token_that_ended_is_renewed(users: InEtcd) -> None:
    """After a silence longer than a token's life, twenty concurrent calls succeed by a new login."""
    store = users.client()
    await store.put("a", b"1")
    first = store._token
    await asyncio.sleep(3.5)
    await asyncio.gather(*(store.put(f"k{number}", b"") for number in range(20)))
    assert store._token != first


async def test_a_watch_outlives_its_token(users: InEtcd) -> None:
    """A running watch goes on; a watch that begins with an expired token is restarted with a new one."""
    store = users.client()
    writer = users.client()
    async with following(store) as follower:
        await asyncio.sleep(3.5)
        await writer.put("late", b"")
        await until(lambda: "late" in follower.held, 60)
    await asyncio.sleep(3.5)
    async with following(store) as follower:
        await writer.put("later", b"")
        await until(lambda: "later" in follower.held, 60)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"password": "wrong, and it must not be repeated"}, "rejects this user or password"),
        ({"user": "nobody"}, "rejects this user or password"),
        ({"user": "", "password": ""}, r"set cluster\.etcd\.user and password"),
        ({"prefix": "/others"}, "its role needs readwrite on the prefix"),
    ],
)
async def test_who_may_not_is_told_why(users: InEtcd, settings: dict[str, Any], said: str) -> None:
    """Wrong credentials and missing rights are refused with a remedy and without the password."""
    store = users.client(**settings)

    async def watch() -> None:
        async with aclosing(store.watch("", 1)) as stream:
            async for _ in stream:
                pass

    for call in (store.put("a", b""), store.list(""), store.get("a")):
        with pytest.raises(StoreRefusedError, match=said) as caught:
            await call
        assert "wrong, and" not in str(caught.value)
        assert PASSWORD not in str(caught.value)
    with pytest.raises(StoreRefusedError):
        async with asyncio.timeout(60):
            await watch()


async def test_a_login_does_not_wait_for_a_stalled_member(users: InEtcd) -> None:
    """Twenty calls that need a token succeed while the first member is stopped; one login is slower."""
    follower = next(member for member in users.cluster.members if member is not users.cluster.leader())
    others = [url for url in users.cluster.endpoints if url != follower.url]
    store = users.client(endpoints=(follower.url, *others))
    follower.stall()
    try:
        ends = await asyncio.gather(*(store.put(f"k{number}", b"") for number in range(20)), return_exceptions=True)
        await store.put("after", b"")
        told = {member.url: member.error for member in await store.members()}
    finally:
        follower.resume()
    assert [end for end in ends if isinstance(end, BaseException)] == []
    assert [url for url, error in told.items() if error] == [follower.url]


async def test_a_user_before_there_are_users(etcd: InEtcd) -> None:
    """If authentication is not enabled, configured credentials do no harm."""
    store = etcd.client(user="edge", password=PASSWORD)
    await store.put("a", b"1")
    assert (await store.get("a")).value == b"1"


async def test_authentication_enabled_under_way(tmp_path_factory: pytest.TempPathFactory) -> None:
    """If authentication is enabled later, edges with credentials continue without a restart."""
    cluster = EtcdCluster(tmp_path_factory.mktemp("later"), 1, flags=["--bcrypt-cost=4"])
    world = InEtcd(cluster, user="root", password=ROOT)
    try:
        cluster.spawn()
        await asyncio.to_thread(cluster.wait)
        store = world.client()
        await store.put("a", b"1")
        for words in (("user", "add", f"root:{ROOT}"), ("user", "grant-role", "root", "root"), ("auth", "enable")):
            await asyncio.to_thread(etcdctl, cluster, *words)
        await store.put("a", b"2")
        assert (await store.get("a")).value == b"2"
    finally:
        await world.close()
        cluster.stop()


class Papers:
    """Certificates of one CA, written to files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._authority = trustme.CA()
        self.ca = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(str(self.ca))

    def issue(self, name: str, *hosts: str) -> Certificates:
        """Write a certificate for these hosts."""
        cert, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        made = self._authority.issue_cert(*hosts, common_name=name)
        made.cert_chain_pems[0].write_to_path(str(cert))
        made.private_key_pem.write_to_path(str(key))
        return Certificates(self.ca, cert, key)

    def settings(self, name: str) -> dict[str, str]:
        """Return a store of the configuration."""
        return {"ca": str(self.ca), "cert": str(self._folder / f"{name}.pem"), "key": str(self._folder / f"{name}.key")}


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    """Make a CA, members' certificates and a client's."""
    made = Papers(tmp_path_factory.mktemp("papers"))
    made.issue("members", "127.0.0.1", "localhost", "store.example")
    made.issue("edge", "edge.example")
    return made


@pytest.fixture(scope="module")
def encrypted(papers: Papers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    """Run three members that use TLS and require certificates."""
    certificates = papers.issue("members", "127.0.0.1", "localhost", "store.example")
    with running_etcd(tmp_path_factory.mktemp("encrypted"), certificates=certificates) as cluster:
        yield cluster


@pytest.fixture
async def mutual(encrypted: EtcdCluster, papers: Papers) -> AsyncIterator[InEtcd]:
    """Return clients with a certificate."""
    made = InEtcd(encrypted, **papers.settings("edge"))
    yield made
    await made.close()


async def test_certificates_of_both_sides(mutual: InEtcd) -> None:
    """With the CA and a client certificate everything works; a configured name may replace the host."""
    for settings in ({}, {"server_name": "store.example"}):
        store = mutual.client(**settings)
        await store.put("a", b"1")
        async with following(store) as follower:
            assert set(follower.held) == {"a"}


@pytest.mark.parametrize("wrong", ["ca", "name", "other", "none"])
async def test_whom_we_do_not_believe_and_who_does_not_believe_us(mutual: InEtcd, tmp_path: Path, wrong: str) -> None:
    """With an unknown CA, another name, a foreign certificate or none, every call fails."""
    stranger = Papers(tmp_path)
    stranger.issue("edge", "edge.example")
    settings: dict[str, Any] = {
        "ca": {"ca": str(stranger.ca)},
        "name": {"server_name": "other.example"},
        "other": {**stranger.settings("edge"), "ca": mutual._settings["ca"]},
        "none": {"cert": None, "key": None},
    }[wrong]
    store = mutual.client(**settings)
    with pytest.raises(StoreRefusedError, match=r"TLS with https://127\.0\.0\.1:\d+ failed: .*cluster\.etcd\.ca"):
        await store.put("a", b"1")


async def test_renewed_certificates_are_read(
    mutual: InEtcd, papers: Papers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate that is replaced on disk is used within seconds, without a restart."""
    monkeypatch.setattr("edge.cluster.members.POLL_S", 0.1)
    stranger = Papers(tmp_path)
    stranger.issue("edge", "edge.example")
    settings = {**stranger.settings("edge"), "ca": str(papers.ca)}
    store = mutual.client(**settings)
    with pytest.raises(StoreRefusedError):
        await store.put("a", b"1")
    good = papers.settings("edge")
    for part in ("cert", "key"):
        shutil.copyfile(good[part], settings[part])
    await asyncio.sleep(0.2)
    await store.put("a", b"1")
    async with following(store) as follower:
        os.utime(settings["cert"])
        await asyncio.sleep(0.2)
        # What is under way on the old connections ends with an error of ours, never as if its task were cancelled.
        await asyncio.gather(*(store.put(f"k{number}", b"") for number in range(5)), return_exceptions=True)
        await store.put("b", b"2")
        await until(lambda: "b" in follower.held, 60)


async def test_a_file_that_is_missing_is_named(mutual: InEtcd) -> None:
    """The error names the file, and no call is made."""
    store = mutual.client(cert="/nowhere/cert.pem")
    with pytest.raises(StoreRefusedError, match=r"/nowhere/cert\.pem cannot be read"):
        await store.get("a")
