"""Tokens of providers are renewed ahead, kept while their endpoint is dark, and fit what the file says of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from msgspec import structs
from soon import until

from edge.config.check import check
from edge.config.fields import Secret
from edge.config.load import read_text
from edge.config.schema import Config, Model, Provider
from edge.config.schema_provider_auth import ProviderAuth
from edge.config.schema_targets import ModelTarget
from edge.control import provider_tokens
from edge.control.compose import compile_config, moved_targets
from edge.control.provider_tokens import ProviderTokens
from edge.credentials.exchange import CredentialError, Grant
from edge.providers import KNOWN
from edge.terms.credentials import ProviderToken, Signing

if TYPE_CHECKING:
    from collections.abc import Mapping

AUTH = ProviderAuth("oauth2", token_url="http://127.0.0.1:9/t", client_id="c", client_secret=Secret("s"))
NOW = 1_800_000_000.0


class Issuing:
    """A source of tokens, and a clock whose sleeps end when the test says so."""

    def __init__(self, life_s: float = 3600) -> None:
        self.life_s = life_s
        self.given = 0
        self.dark = False
        self.wall_s = NOW
        self.sleeps: list[tuple[float, asyncio.Event]] = []

    async def fetch(self, _auth: ProviderAuth, _environ: Mapping[str, str], now: float) -> Grant:
        """Give out the next token."""
        if self.dark:
            raise CredentialError("the endpoint is dark")
        self.given += 1
        return Grant(f"token-{self.given:04d}", now + self.life_s)

    def now_ns(self) -> int:
        """Return the monotonic time."""
        return int(self.wall_s * 1e9)

    def wall(self) -> float:
        """Return the time."""
        return self.wall_s

    def random(self) -> float:
        """Return no jitter."""
        return 1.0

    def bits(self) -> int:
        """Return no chance."""
        return 0

    async def sleep(self, seconds: float) -> None:
        """Sleep until :meth:`pass_time` wakes it; short waits for something pass."""
        if seconds < 0.1:
            await asyncio.sleep(0)
            return
        done = asyncio.Event()
        self.sleeps.append((self.wall_s + seconds, done))
        await done.wait()

    async def next(self) -> float:
        """Let time pass until the next sleep ends; return how long that took."""
        await until(lambda: bool(self.sleeps))
        due, done = min(self.sleeps, key=lambda each: each[0])
        self.sleeps.remove((due, done))
        passed, self.wall_s = due - self.wall_s, due
        done.set()
        for _ in range(5):
            await asyncio.sleep(0)
        return passed


def config(auth: ProviderAuth | None = AUTH) -> Config:
    """Return a configuration of one provider."""
    provider = Provider(base_url="http://127.0.0.1:9/v1", auth=auth)
    return Config(providers={"p": provider}, models={"chat": Model(targets=(ModelTarget("p/m"),))})


async def test_a_token_is_renewed_before_its_end() -> None:
    """Five minutes or a fifth of its life ahead, and a short one after half of it."""
    for life_s, after_s in ((3600.0, 2880.0), (43200.0, 34560.0), (600.0, 300.0), (60.0, 30.0)):
        source = Issuing(life_s)
        seen: list[Mapping[str, ProviderToken]] = []
        tokens = ProviderTokens(seen.append, {}, {}, source, source.fetch)
        await tokens.start(config())
        assert await source.next() == pytest.approx(after_s)
        assert [each["p"].token for each in seen] == ["token-0001", "token-0002"]
        await tokens.stop()


async def test_a_dark_endpoint_changes_nothing_and_is_asked_again() -> None:
    """The last token stays; waits grow to half a minute; the state says why, and for how long the token counts."""
    source, seen = Issuing(600), []
    tokens = ProviderTokens(seen.append, {}, {}, source, source.fetch)
    await tokens.start(config())
    source.dark = True
    await source.next()
    waits = [await source.next() for _ in range(7)]
    assert waits == [pytest.approx(wait) for wait in (1, 2, 4, 8, 16, 30, 30)]
    (state,) = tokens.states()
    assert (state.error, state.expires_s) == ("the endpoint is dark", pytest.approx(600 - 300 - sum(waits)))
    assert len(seen) == 1
    source.dark = False
    await source.next()
    assert (tokens.states()[0].error, len(seen)) == ("", 2)
    await tokens.stop()


async def test_aws_keys_serve_while_their_source_is_dark_for_an_hour() -> None:
    """Workers keep them until they end, and get no key after that, so that nothing is sent unsigned."""
    auth = ProviderAuth("aws_sigv4", region="eu-west-1")
    source, seen = Issuing(21600), []

    async def fetch(auth: ProviderAuth, environ: Mapping[str, str], now: float) -> Grant:
        granted = await source.fetch(auth, environ, now)
        return Grant("", granted.expires, Signing("eu-west-1", "bedrock", "AKIA", granted.token, "", granted.expires))

    tokens = ProviderTokens(seen.append, {}, {}, source, fetch)
    await tokens.start(config(auth))
    source.dark = True
    began = source.wall_s + await source.next()
    while source.wall_s < began + 3600:
        await source.next()
        (target,) = compile_config(config(auth), now=source.wall_s, tokens=seen[-1]).targets[:1]
        assert target.signing == seen[-1]["p"].signing
        assert tokens.states()[0].error == "the endpoint is dark"
    (target,) = compile_config(config(auth), now=NOW + 21600, tokens=seen[-1]).targets[:1]
    assert target.signing == Signing("eu-west-1", "bedrock")
    await tokens.stop()


async def test_a_refused_token_is_replaced_but_not_in_a_loop() -> None:
    """A provider's refusal fetches another one, but ever more seldom."""
    source, seen = Issuing(), []
    tokens = ProviderTokens(seen.append, {}, {}, source, source.fetch)
    await tokens.start(config())
    tokens.refused("p")
    source.wall_s += provider_tokens.REFUSED_S + 1
    tokens.refused("p")
    await until(lambda: len(seen) == 2)
    for _ in range(10):
        tokens.refused("p")
        await asyncio.sleep(0)
    assert source.given == 2
    source.wall_s += provider_tokens.REFUSED_S + 1
    tokens.refused("p")
    await asyncio.sleep(0)
    assert source.given == 2  # the next one only after twice the time
    source.wall_s += provider_tokens.REFUSED_S
    tokens.refused("p")
    await until(lambda: len(seen) == 3)
    await tokens.stop()


async def test_a_token_that_cannot_be_put_to_use_is_tried_again() -> None:
    """What goes wrong with one Snapshot does not end the renewal of the provider's token for good."""
    source, seen = Issuing(), []

    def take(said: Mapping[str, ProviderToken]) -> None:
        seen.append(said)
        if len(seen) == 1:
            raise MemoryError

    tokens = ProviderTokens(take, {}, {}, source, source.fetch)
    await tokens.start(config())
    assert tokens.states()[0].error == "unexpected MemoryError"
    await source.next()
    await until(lambda: len(seen) == 2)
    assert tokens.states()[0].error == ""
    await tokens.stop()


async def test_clocks_that_jump_leave_no_expired_token_in_use() -> None:
    """After a jump ahead the token is fetched anew; one from a time when the clock was ahead is not kept for long."""
    source, seen = Issuing(), []
    tokens = ProviderTokens(seen.append, {}, {}, source, source.fetch)
    await tokens.start(config())
    await until(lambda: bool(source.sleeps))
    tokens.poll()
    await asyncio.sleep(0)
    assert source.given == 1
    source.wall_s += 86400  # its sleep does not end
    tokens.poll()
    await until(lambda: len(seen) == 2)
    await tokens.stop()
    source.sleeps.clear()
    source.wall_s = NOW
    ahead = ProviderToken("before", NOW + 86400, NOW + 86400 + 3600, AUTH.identity)
    tokens = ProviderTokens(seen.append, {"p": ahead}, {}, source, source.fetch)
    await tokens.start(config())
    assert await source.next() <= 3600
    await tokens.stop()


async def test_what_an_earlier_process_fetched_is_used() -> None:
    """A known token is not fetched again, unless it has expired or is another client's."""
    for known, given in (
        (ProviderToken("before", NOW - 100, NOW + 3500, AUTH.identity), 0),
        (ProviderToken("before", NOW - 100, NOW - 1, AUTH.identity), 1),
        (ProviderToken("before", NOW - 100, NOW + 3500, structs.replace(AUTH, client_id="d").identity), 1),
    ):
        source = Issuing()
        tokens = ProviderTokens(lambda _: None, {"p": known}, {}, source, source.fetch)
        await tokens.start(config())
        assert source.given == given
        await tokens.stop()


def test_a_renewed_token_is_the_same_target() -> None:
    """The record in the shared state stays through renewals; a token where there was none is another credential."""
    token = ProviderToken("first", NOW, NOW + 60, AUTH.identity)
    without = compile_config(config(), now=NOW, tokens={})
    first = compile_config(config(), now=NOW, previous=without, tokens={"p": token})
    second = compile_config(config(), now=NOW, previous=first, tokens={"p": structs.replace(token, token="second")})
    assert next(target.fields for target in second.targets if target.provider == "p") == (
        ("authorization", "Bearer second"),
    )
    assert moved_targets(first, without) == {"p/m", "p/*"}
    assert moved_targets(second, first) == set()
    assert compile_config(config(), now=NOW + 61, previous=first).targets[0].fields == ()
    other = config(structs.replace(AUTH, client_id="d"))
    assert compile_config(other, now=NOW, previous=first).targets[0].fields == ()
    assert "second" not in repr(token)


@pytest.mark.parametrize(
    ("auth", "fields"),
    [
        ("bearer", (("authorization", "Bearer k"),)),
        ({"type": "header", "header": "API-Key"}, (("api-key", "k"),)),
        (None, (("x-api-key", "k"),)),
    ],
)
def test_how_a_key_is_sent(auth: object, fields: tuple[tuple[str, str], ...]) -> None:
    """``auth`` says it, else the dialect."""
    given = None if auth is None else ProviderAuth(auth) if isinstance(auth, str) else ProviderAuth(**auth)  # type: ignore[arg-type]  # as YAML has it
    provider = Provider(base_url="https://p.example", dialect="anthropic", api_key=Secret("k"), auth=given)
    made = structs.replace(config(), providers={"p": provider})
    assert compile_config(made, now=NOW).targets[0].fields == fields


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{type: oauth2, client_id: a, client_secret: s}", "token_url is missing"),
        ("{type: oauth2, token_url: 'https://t.example', client_id: a}", "client_secret is missing"),
        ("{type: oauth2, token_url: 'http://t.example', client_id: a, client_secret: s}", "write https"),
        ("{type: oauth2, token_url: 'http://169.254.169.254/x', client_id: a, client_secret: s}", "must not be called"),
        ("{type: azure_ad, client_secret: s}", "needs client_id and tenant"),
        ("{type: azure_ad, profile: x}", "it has no effect with type azure_ad"),
        ("{type: google, credentials: /no/such/file}", "/no/such/file"),
        ("{type: aws_sigv4, region: Ireland}", "is not a region of AWS"),
        ("{type: aws_sigv4, region: eu-west-1, service: Bed Rock}", "is not a service of AWS"),
        ("{type: bedrock_key, region: eu-west-1, service: bedrock}", "it has no effect with type bedrock_key"),
        ("{type: header}", "write the name of the field"),
        ("{type: header, header: host}", "write the name of the field"),
        ("{type: kerberos}", "kerberos"),
        ("{typ: google}", "type"),
    ],
)
def test_check_names_what_is_wrong(written: str, said: str) -> None:
    """Each fault has its place below providers.p.auth, and a remedy."""
    text = (
        f"providers: {{p: {{base_url: 'https://p.example/v1', auth: {written}}}}}\nmodels: {{chat: {{targets: [p/m]}}}}"
    )
    problems = [problem.text() for problem in check(read_text(text, environ={}), KNOWN) if problem.severity == "error"]
    assert any("providers.p.auth" in problem and said in problem for problem in problems), problems


def test_a_token_is_not_sent_in_clear_and_not_beside_a_key() -> None:
    """Plain http to another network is refused, and so is an api_key that would not be used."""
    text = "providers: {p: {base_url: 'http://p.example/v1', api_key: k, auth: {type: google}}}"
    problems = [problem.text() for problem in check(read_text(text, environ={}), KNOWN) if problem.severity == "error"]
    assert any("write https" in problem for problem in problems)
    assert any("no effect beside auth" in problem for problem in problems)
