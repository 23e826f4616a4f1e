"""A whole node fetches the signing keys of issuers ahead of need, and serves on while an issuer is dark."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Self

import aiohttp
import openai
import pytest
from issuer import NAME, Issuer, rsa_key
from msgspec import structs
from nodes import CHAT, KEY, RunningNode, chat_config
from soon import until

from edge.admission.signing_keys import KeySetError
from edge.admission.tokens import Verifier
from edge.cli.doctor_remote import of_remote
from edge.config.schema import Config
from edge.config.schema_auth import Auth, Jwt
from edge.control import issuers as following
from edge.control.issuers import Issuers, fetch
from edge.native import RefusedToken
from edge.routing import identity
from edge.sim.asked import Pace
from edge.sim.provider import ProviderSpec, SimProvider
from tests import snapshots

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    import httpx

    from edge.terms.snapshot import SigningKeys

S = 1_000_000_000


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    """An issuer that answers."""
    async with Issuer() as running:
        yield running


@pytest.fixture
async def provider() -> AsyncIterator[SimProvider]:
    """A provider that answers at once."""
    pace = Pace(ttft_s=0.0, tps=0.0, tokens=8)
    async with SimProvider(ProviderSpec(name="p0", pace=pace, key=KEY)) as running:
        yield running


def configured(provider: SimProvider, issuer: Issuer) -> dict[str, Any]:
    """Return the configuration of a node that believes the issuer."""
    auth = {"jwt": [{"issuer": NAME, "jwks": f"{issuer.url}/keys", "audience": "edge"}]}
    return {**chat_config(provider.url), "auth": auth, "keys": [{"name": "team-a"}]}


async def ask(node: RunningNode, token: str) -> int:
    """Ask once with this token; return the status."""
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as client,
        client.post(
            f"{node.url}/v1/chat/completions", json=CHAT, headers={"authorization": f"Bearer {token}"}
        ) as answer,
    ):
        await answer.read()
        return answer.status


async def test_known_keys_serve_on_while_the_issuer_is_dark(
    tmp_path: Path, provider: SimProvider, issuer: Issuer
) -> None:
    """A new token is believed while the issuer is dark, after a restart too; nothing of it is in the log or on disk."""
    config = configured(provider, issuer)
    async with RunningNode(tmp_path, config) as node:
        first = issuer.token()
        assert await ask(node, first) == 200
        assert issuer.asked == 1
        _, told = await node.get("/api/node")
        assert [(one["keys"], one["error"]) for one in told["issuers"]] == [(1, "")]
        issuer.dark = True
        assert await ask(node, issuer.token(jti="while dark")) == 200
    async with RunningNode(tmp_path, config) as node:
        second = issuer.token(jti="after a restart")
        assert await ask(node, second) == 200
        assert await ask(node, issuer.token("new", key=rsa_key())) == 401
        _, told = await node.get("/api/node")
        assert told["issuers"][0]["error"]
        assert told["issuers"][0]["usable_s"] > 86000
        _, metrics = await node.get("/metrics")
        assert f'edge_issuer_keys{{source="{issuer.url}/keys"}} 1' in metrics
        kept = content(tmp_path)
        for token in (first, second):
            assert token.encode() not in kept
            assert token.rpartition(".")[2].encode() not in kept


@pytest.mark.prove
async def test_a_rotation_without_notice_costs_a_retry(tmp_path: Path, provider: SimProvider, issuer: Issuer) -> None:
    """The SDK's own retry gets an answer for the first token of a key that its issuer has not announced."""
    async with RunningNode(tmp_path, configured(provider, issuer)) as node:
        await asyncio.sleep(following.WANTED_S + 0.5)  # since the fetch at the start
        issuer.keys = {"new": rsa_key()}
        refused: list[int] = []

        async def note(answer: httpx.Response) -> None:
            refused.append(answer.status_code)

        wire = openai.DefaultAsyncHttpxClient(event_hooks={"response": [note]})
        token = issuer.token("new")
        async with openai.AsyncOpenAI(base_url=f"{node.url}/v1", api_key=token, http_client=wire) as client:
            assert (await client.models.list()).data
        assert refused == [401, 200]
        assert issuer.asked == 2


def content(folder: Path) -> bytes:
    """Return what all files in a folder hold: logs, output, stored state."""
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


class Clock:
    """A clock whose sleeps end when the test moves it."""

    def __init__(self) -> None:
        self.ns = S
        self._sleeping: list[tuple[int, asyncio.Event]] = []

    def now_ns(self) -> int:
        return self.ns

    def wall(self) -> float:
        return 1_000_000 + self.ns / S

    def random(self) -> float:
        return 0.5

    def bits(self) -> int:
        return 0

    async def sleep(self, seconds: float) -> None:
        event = asyncio.Event()
        self._sleeping.append((self.ns + int(seconds * S), event))
        await event.wait()

    async def move(self, seconds: float) -> None:
        """Move time, and let what is due run."""
        await asyncio.sleep(0.02)  # what has just been answered goes to sleep before
        self.ns += int(seconds * S)
        for due_ns, event in self._sleeping:
            if due_ns <= self.ns:
                event.set()
        await asyncio.sleep(0.05)


class Followed:
    """Issuers that are followed in the time of the test; ``changes`` are the keys by source after each change."""

    def __init__(self, issuer: Issuer, known: Mapping[str, SigningKeys] | None = None, **settings: Any) -> None:
        self.clock = Clock()
        self.changes: list[dict[str, SigningKeys]] = []
        self.source = f"{issuer.url}/keys"
        jwt = Jwt(**{"issuer": NAME, "audience": "edge", "jwks": self.source, **settings})
        self.config = Config(auth=Auth((jwt,)))
        self.issuers = Issuers(lambda signing: self.changes.append(dict(signing)), known or {}, self.clock)

    async def __aenter__(self) -> Self:
        self.issuers.follow(self.config)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.issuers.stop()

    @property
    def kids(self) -> list[str]:
        """The names of the keys that are in use."""
        return [key.kid for key in self.changes[-1][self.source].keys]


async def test_keys_are_fetched_again_and_workers_learn_only_of_changes(issuer: Issuer) -> None:
    """Fetches follow Cache-Control within bounds and use ETags; the same keys make no Snapshot until they age."""
    issuer.etag = '"1"'
    issuer.headers = {"Cache-Control": "public, max-age=120"}
    async with Followed(issuer) as followed:
        await until(lambda: followed.changes)
        assert followed.kids == ["one"]
        await followed.clock.move(100)
        assert issuer.asked == 1
        await followed.clock.move(50)
        await until(lambda: followed.issuers.states()[0].age_s == 0.0)
        assert (issuer.asked, issuer.not_modified) == (2, 1)
        assert len(followed.changes) == 1
        issuer.keys["two"] = rsa_key()
        issuer.etag = '"2"'
        await followed.clock.move(150)
        await until(lambda: len(followed.changes) == 2)
        assert followed.kids == ["one", "two"]
        confirmed = followed.changes[-1][followed.source].confirmed
        await followed.clock.move(4 * 3600)  # an eighth of a day: workers hear that the keys count for longer
        await until(lambda: len(followed.changes) == 3)
        assert followed.changes[-1][followed.source].confirmed > confirmed + 3 * 3600


async def test_an_unknown_key_is_fetched_soon_but_not_at_will(issuer: Issuer) -> None:
    """A token with a key that is not known makes a fetch ten seconds after the last, however many there are."""
    async with Followed(issuer) as followed:
        await until(lambda: followed.changes)
        issuer.keys["two"] = rsa_key()
        for _ in range(50):
            followed.issuers.want(followed.source)
            await asyncio.sleep(0)
        await followed.clock.move(5)
        assert issuer.asked == 1
        await followed.clock.move(6)
        await until(lambda: len(followed.changes) == 2)
        assert (issuer.asked, followed.kids) == (2, ["one", "two"])
        await followed.clock.move(30)
        assert issuer.asked == 2
        followed.issuers.want(followed.source)  # long after the last fetch: at once
        await until(lambda: issuer.asked == 3)
        followed.issuers.want("https://elsewhere.example/keys")
        assert issuer.asked == 3


@pytest.mark.parametrize("fault", ["dark", "status", "huge", "empty", "words"])
async def test_the_last_good_keys_stay(issuer: Issuer, fault: str) -> None:
    """An issuer that fails in any way takes no key away, and is asked again with growing pauses."""
    async with Followed(issuer) as followed:
        await until(lambda: followed.changes)
        issuer.dark = fault == "dark"
        issuer.status = 503 if fault == "status" else 200
        issuer.body = {"huge": b"x" * 400_000, "empty": b'{"keys":[]}', "words": b"<html>"}.get(fault)
        await followed.clock.move(330)
        await until(lambda: followed.issuers.states()[0].failures == 1)
        state = followed.issuers.states()[0]
        assert state.error
        assert state.keys == 1
        assert state.age_s == pytest.approx(330)
        await followed.clock.move(1.2)
        await until(lambda: followed.issuers.states()[0].failures == 2)
        await followed.clock.move(1.2)
        assert followed.issuers.states()[0].failures == 2
        issuer.dark, issuer.status, issuer.body = False, 200, None
        await followed.clock.move(2)
        await until(lambda: followed.issuers.states()[0].error == "")
        assert len(followed.changes) == 1


async def test_an_hour_in_the_dark(issuer: Issuer) -> None:
    """New tokens are believed through an hour in which the issuer answers nothing, with and without a restart."""
    async with Followed(issuer, stale=2 * 3600 * S) as followed:
        await until(lambda: followed.changes)
        issuer.dark = True
        for _ in range(60):
            await followed.clock.move(60)
        assert followed.issuers.states()[0].failures > 10
        assert followed.issuers.states()[0].usable_s > 3600
        wall = followed.clock.wall()
    verifier = Verifier(lambda _source: None, followed.clock)
    config = Config(auth=followed.config.auth)
    verifier.learn(snapshots.snapshot(issuers=identity.issuers(config), signing=followed.changes[-1]))
    token = issuer.token(iat=int(wall), exp=int(wall) + 600).encode()
    assert verifier.verify(token, None, 1).accepted
    followed.clock.ns += 2 * 3600 * S
    assert verifier.verify(token, None, 1) == RefusedToken("signing_keys_missing", "1")


async def test_keys_of_an_earlier_process_are_in_use_at_once(issuer: Issuer) -> None:
    """Control that starts while the issuer is dark neither loses the keys nor renews how long they count."""
    async with Followed(issuer) as followed:
        await until(lambda: followed.changes)
    issuer.dark = True
    async with Followed(issuer, followed.changes[-1]) as again:
        await until(lambda: again.issuers.states()[0].failures)
        assert again.issuers.states()[0].keys == 1
        assert again.changes == []


async def test_a_reload_loses_no_keys(issuer: Issuer) -> None:
    """An issuer that a reload names again has its keys, and a longer ``stale`` counts at once, while it is dark."""
    async with Issuer() as other, Followed(issuer) as followed:
        await until(lambda: followed.changes)
        (jwt,) = followed.config.auth.jwt
        replacement = Jwt(issuer="https://other.example", audience="edge", jwks=f"{other.url}/keys")
        followed.issuers.follow(Config(auth=Auth((replacement,))))
        await until(lambda: len(followed.changes) == 2)
        assert {followed.source, replacement.jwks} == followed.changes[-1].keys()
        issuer.dark = True
        usable_s = []
        for stale_s in (86400, 10 * 86400):
            longer = structs.replace(jwt, stale=stale_s * S)
            followed.issuers.follow(Config(auth=Auth((longer,))))
            (state,) = followed.issuers.states()
            assert state.keys == 1
            usable_s.append(state.usable_s)
        assert usable_s[1] == pytest.approx(usable_s[0] + 9 * 86400 * 9 / 8)


async def test_the_issuers_own_document_names_its_keys(issuer: Issuer) -> None:
    """Without ``jwks`` the keys are where OpenID Connect Discovery says, if the document is the issuer's own."""
    assert (await fetch(Jwt(issuer=issuer.url, audience="edge"), "")).keys
    with pytest.raises(KeySetError, match="another issuer"):
        await fetch(Jwt(issuer=f"{issuer.url}/", audience="edge"), "")


async def test_a_slow_issuer_does_not_hold_a_fetch_for_ever(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """An issuer that accepts a connection and says nothing counts as dark after a bounded time."""
    monkeypatch.setattr(following, "LIMIT_S", 0.2)
    held: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _reader, writer: held.append(writer), "127.0.0.1", 0)
    issuer.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    began = time.monotonic()
    async with Followed(issuer) as followed:
        await until(lambda: followed.issuers.states()[0].failures)
    assert time.monotonic() - began < 5
    for writer in held:
        writer.close()
    server.close()


async def test_doctor_asks_each_issuer(issuer: Issuer) -> None:
    """``edge doctor`` says how many keys an issuer has, and what is wrong with one that has none."""
    auth = Auth(tuple(Jwt(issuer=name, audience="edge", jwks=f"{issuer.url}/{name}") for name in ("keys", "nothing")))
    told = {finding.subject: finding for finding in await of_remote(Config(auth=auth))}
    assert (told["issuer keys"].level, told["issuer keys"].sentence) == ("ok", "1 signing keys")
    assert (told["issuer nothing"].level, told["issuer nothing"].sentence) == ("fault", "it answers with status 404")
