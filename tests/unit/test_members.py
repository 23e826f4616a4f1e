"""Members of groups are callers of their own: found by token or certificate, bounded in number, and not forgotten."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

import pytest
from msgspec import structs

from edge import clock
from edge.admission.key_documents import KeyDocument, KeyDocumentError, encode
from edge.app import key_follower
from edge.app.key_follower import KeyFollower
from edge.config.check import check
from edge.config.load import read_text
from edge.config.schema import Config
from edge.config.schema_keys import Each, Key
from edge.control.compose import compile_config
from edge.control.fixed_fields import unchangeable
from edge.control.key_book import KeyBook
from edge.control.key_cells import KeyCells, KeyFile
from edge.control.members import Members
from edge.native import Callers, RefusedToken, SharedState, Tokens, VerifiedToken
from edge.providers import KNOWN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = 1_800_000_000.0
S = 1_000_000_000
NAMES = ("spiffe://x/a", "b.test")
GROUP = Key("research", groups=("r",), certificates=NAMES, each=Each(requests_per_minute=60, most=2))


class Verifier:
    """Believes every token: it names its caller, who is of the group."""

    too_long = RefusedToken("token_refused", "too long")

    def verify(self, token: bytes, _peer: object, _now_ns: int) -> VerifiedToken:
        """Return what the token says."""
        return VerifiedToken(token.decode().removeprefix("eyJ").strip("_"), ("r",), 3600 * S, "proof", "")

    def holds(self, _proof: object) -> bool:
        """Every token is still believed."""
        return True


class Bench:
    """Control's members, and a worker that asks for them."""

    def __init__(self, *keys: Key, records: int = 16) -> None:
        self.config = Config(keys=keys or (GROUP,))
        self.shared_state = SharedState.create(1, 1, 1, 0, 8, records)
        self.cells = KeyCells.create()
        self.book = KeyBook(self.cells, self.shared_state)
        self.book.finish()
        self.members = self.new_members()
        self.wanted: list[tuple[str, str]] = []
        self.routed = 0
        self.worker = KeyFollower(self.cells, self.shared_state, 1, self.route, lambda *who: self.wanted.append(who))
        self.tokens = Tokens(Verifier())
        self.worker.load()
        self.route()

    def new_members(self) -> Members:
        """Return the members as a new control process has them."""
        return Members(self.book, self.shared_state, lambda: self.config, clock)

    def route(self) -> None:
        """Take a new Snapshot, as a worker does."""
        self.routed += 1
        plans = compile_config(self.config, now=NOW).keys
        self.callers = Callers(self.shared_state, plans, 1, self.worker.table)

    def serve(self) -> None:
        """Let control give out what the worker has asked for."""
        for who in self.wanted:
            self.book.publish(self.members.admit(*who))
        self.wanted.clear()
        self.worker.refresh()

    def caller(self, name: str) -> str:
        """Return who a token's caller is."""
        fields = [(b"authorization", b"Bearer " + ("eyJ" + name).ljust(40, "_").encode())]
        found = self.callers.identify(fields, self.tokens, clock.now_ns())[0]
        assert found is not None
        self.last = found
        return found.name

    def known(self, name: str) -> str:
        """Return who a token's caller is once the member has a record."""
        self.caller(name)
        self.serve()
        return self.caller(name)

    def close(self) -> None:
        """Close the cells."""
        for fd in self.cells.fds:
            os.close(fd)


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Return a group of at most two members."""
    made = Bench()
    yield made
    made.close()


def test_each_member_has_limits_of_its_own(bench: Bench) -> None:
    """The first request passes without a record, and asks for one; then each has its own bucket."""
    assert bench.caller("ann") == "research"
    assert bench.wanted == [("research", "ann")]
    bench.caller("ann")
    assert bench.wanted == [("research", "ann")]  # not again at once
    bench.serve()
    assert bench.caller("ann") == "research/ann"
    ann = bench.last.allowance
    assert bench.known("bob") == "research/bob"
    bob = bench.last.allowance
    assert ann is not None
    assert bob is not None
    assert [ann.take(S)[0] != 0 for _ in range(8)] == [False] * 6 + [True] * 2
    assert bob.take(S)[0] == 0
    assert [key.name for key in bench.book.used()] == ["research/ann", "research/bob"]


def test_certificates_are_members_too(bench: Bench) -> None:
    """The name in the certificate is the member: a URI as it is, a DNS name in lower case."""
    for names, member in (((("URI", "spiffe://x/a"),), "spiffe://x/a"), ((("DNS", "B.test"),), "b.test")):
        assert bench.callers.identify_certificate(names) is not None
        bench.serve()
        found = bench.callers.identify_certificate(names)
        assert found is not None
        assert found.name == f"research/{member}"


def test_no_key_leads_to_a_member(bench: Bench) -> None:
    """What a member is found by is no SHA-256 of anything that a client could send."""
    bench.known("ann")
    for key in (b"research\0ann", b"mresearch\0ann", b"research/ann"):
        assert bench.callers.identify([(b"x-api-key", key)])[0] is None


def test_more_members_than_records_share_one(bench: Bench) -> None:
    """A busy member keeps its record; newcomers are one caller; an idle member gives up its own."""
    assert [bench.known(name) for name in ("ann", "bob")] == ["research/ann", "research/bob"]
    for name in ("ann", "bob"):
        bench.caller(name)
        assert bench.last.allowance is not None
        for _ in range(6):
            bench.last.allowance.take(clock.now_ns())
    assert [bench.known(name) for name in ("cid", "dan")] == ["research/*", "research/*"]
    month = 12 * 2027
    slot = bench.book.slot("research/ann")
    bench.shared_state.clear_allowance(slot)  # ann has been idle
    bench.shared_state.set_spent(slot, month, 5)  # ... and has spent of this month's budget
    assert bench.known("eve") == "research/*"
    bench.shared_state.clear_allowance(slot)
    before = bench.routed
    assert bench.known("fay") == "research/fay"
    assert bench.routed > before  # tokens of ann lead elsewhere now
    assert bench.caller("ann") == "research/*"


def test_who_shared_a_record_uses_its_own_as_soon_as_there_is_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token that led to those who share leads to its member once there is room, and not when it expires."""
    monkeypatch.setattr(key_follower, "AGAIN_S", 0.0)
    assert [bench.known(name) for name in ("ann", "bob")] == ["research/ann", "research/bob"]
    for name in ("ann", "bob"):
        bench.shared_state.set_spent(bench.book.slot(f"research/{name}"), 12 * 2099, 5)
    assert bench.known("cid") == "research/*"
    bench.config = Config(keys=(structs.replace(GROUP, each=Each(requests_per_minute=60, most=3)),))
    bench.route()
    assert bench.caller("cid") == "research/*"
    bench.serve()
    assert bench.caller("cid") == "research/cid"


def test_members_survive_control_and_the_node(bench: Bench, tmp_path: Path) -> None:
    """Records and spending stay with their members over a restart of control, and of the node."""
    bench.known("ann")
    slot = bench.book.slot("research/ann")
    bench.book = KeyBook(bench.cells, bench.shared_state)
    bench.book.recall()
    bench.members = bench.new_members()
    assert bench.members.admit("research", "ann") == []
    assert bench.book.slot("research/ann") == slot
    file = KeyFile(tmp_path, "edge.yaml")
    file.write(*bench.book.written)
    entries = file.read()
    assert entries is not None
    again = Bench()
    restored = []
    again.book = KeyBook(again.cells, again.shared_state, lambda name, slot: restored.append(name))
    again.book.restore(entries, NOW)
    again.worker.load()
    again.route()
    assert (restored, again.caller("ann"), again.wanted) == (["research/ann"], "research/ann", [])
    again.close()


def test_a_reload_changes_members(bench: Bench) -> None:
    """Other limits hold at once for members that are known; without ``each`` they are the group's again."""
    bench.known("ann")
    bench.config = Config(keys=(structs.replace(GROUP, each=Each(requests_per_minute=120)),))
    bench.route()
    bench.book.publish(bench.members.follow())
    bench.worker.refresh()
    assert bench.caller("ann") == "research/ann"
    assert bench.last.allowance is not None
    assert bench.last.allowance.bursts(S)[0] == 12
    bench.config = Config(keys=(structs.replace(GROUP, each=None, requests_per_minute=60),))
    bench.route()
    bench.book.publish(bench.members.follow())
    bench.worker.refresh()
    assert bench.caller("ann") == "research"
    assert bench.book.members() == []


def spent(bench: Bench, name: str) -> int:
    """Return what a member has spent, in nano dollars."""
    return bench.shared_state.read_allowance(bench.book.slot(name))["spent_nano"]


def test_a_newcomer_inherits_nothing_over_a_restart_of_control(bench: Bench) -> None:
    """The next control process knows which records are former members': it gives out others, or empties them."""
    for name in ("ann", "bob"):
        bench.book.publish(bench.members.admit("research", name))
    for _ in range(20):  # more than there are records
        bench.shared_state.set_spent(bench.book.slot("research/bob"), 12 * 2027, 500)
        bench.book.publish([bench.book.dismiss("research/bob")])
        bench.book = KeyBook(bench.cells, bench.shared_state)
        bench.book.recall()
        bench.members = bench.new_members()
        bench.book.publish(bench.members.admit("research", "bob"))
        assert spent(bench, "research/bob") == 0


class Busy:
    """A shared state whose record ``slot`` has a request in flight."""

    def __init__(self, shared_state: SharedState, slot: int) -> None:
        self._shared_state = shared_state
        self._slot = slot

    def __getattr__(self, name: str) -> Any:
        """Return what the shared state has."""
        return getattr(self._shared_state, name)

    def read_allowance(self, slot: int) -> dict[str, object]:
        """Return the record as the shared state has it, apart from the request."""
        return {**self._shared_state.read_allowance(slot), "inflight": int(slot == self._slot)}


@pytest.mark.parametrize("was", ["member", "revoked key"])
def test_a_record_with_requests_in_flight_is_not_given_out(bench: Bench, was: str) -> None:
    """A request that began before its caller lost the record charges nobody else."""
    first = bench.shared_state.reserved_allowances[0]
    bench.book = KeyBook(bench.cells, cast("SharedState", Busy(bench.shared_state, first)))

    def give(name: str) -> int:
        if was == "member":
            bench.book.admit(name, b"m" + name.encode(), KeyDocument(Key(name), 0, 0.0), b"{}")
        else:
            name = name.replace("/", ".")
            bench.book.take(name, encode(KeyDocument(Key(name), 1, NOW), b"s"), b"s", NOW)
        return bench.book.slot(name)

    def end(name: str) -> None:
        if was == "member":
            bench.book.dismiss(name)
        else:
            name = name.replace("/", ".")
            bench.book.take(name, encode(KeyDocument(Key(name), 2, NOW, revoked=True), b"s"), b"s", NOW)

    assert [give(f"g/{number}") for number in range(16)] == list(range(first, first + 16))
    for number in range(2):
        end(f"g/{number}")
    assert give("g/x") == first + 1


def test_members_without_records_share_one_limit() -> None:
    """When all records are taken, newcomers are one caller, as ever: none is unlimited, and control goes on."""
    bench = Bench(structs.replace(GROUP, each=Each(requests_per_minute=60, most=5000)), records=2048)
    for number in range(2046):
        bench.members.admit("research", f"n{number}")
        bench.shared_state.set_spent(bench.book.slot(f"research/n{number}"), 12 * 2099, 5)
    bench.book.finish()
    bench.worker.load()
    assert [bench.known(name) for name in ("x", "y")] == ["research/*", "research/*"]
    assert bench.members.follow() == []
    with pytest.raises(KeyDocumentError, match="used up"):
        bench.book.admit("research/z", b"m", KeyDocument(Key("research/z"), 0, 0.0), b"{}")
    bench.close()


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("{name: a, sha256: " + "ab" * 32 + ", each: {budget: 5}}", "is one caller"),
        ("{name: a, groups: [g], requests_per_minute: 5, each: {requests_per_minute: 5}}", "write limits within each"),
        ("{name: a, groups: [g], each: {most: 0}}", "most"),
        ("{name: a, groups: [g], each: {budget: 5}, models: [m]}", "the price of p/m is unknown"),
    ],
)
def test_check_names_what_does_not_fit(key: str, said: str) -> None:
    """Each is an error below the key."""
    text = f"""
providers: {{p: {{base_url: "http://127.0.0.1:9/v1"}}}}
models: {{m: {{targets: [p/m]}}}}
auth: {{jwt: [{{issuer: "https://id.example", audience: e}}]}}
keys: [{key}]
"""
    problems = [each.text() for each in check(read_text(text, environ={}), KNOWN) if each.severity == "error"]
    assert any("keys[0]" in problem and said in problem for problem in problems), problems


def test_a_node_without_records_says_that_it_needs_a_restart() -> None:
    """The first key with members on a running node is refused; a later one is not."""
    document = read_text("keys: [{name: a, groups: [g], each: {budget: 5}}]\n", environ={})
    assert [problem.path for problem in unchangeable(document, Config(keys=(Key("b"),)))] == [("keys",)]
    assert unchangeable(document, Config(keys=(GROUP,))) == []
