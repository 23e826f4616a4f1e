"""Requests that are signed for AWS, against a provider that checks the signatures as AWS does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import anthropic
import openai
import pytest
from aiohttp import web
from endpoints import PACE
from msgspec import structs
from one_data_plane import one_data_plane
from soon import until
from yarl import URL

from edge import clock
from edge.config import effective
from edge.config.load import read_text
from edge.native import Outcome
from edge.providers import KNOWN
from edge.sim.faults import Fault
from edge.sim.provider import ProviderSpec, SimProvider
from edge.sim.signatures import Identity
from edge.terms.credentials import ProviderToken, Signing
from native.state.counters import TargetCounter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from one_data_plane import OneDataPlane

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
WHO = Identity("AKIDEXAMPLE", SECRET)
TEMPORARY = Identity("ASIAEXAMPLE", "another/secret+0123456789", "session/token+==" * 20)
SAID: Any = [{"role": "user", "content": "hello"}]


@pytest.fixture
async def sim() -> AsyncIterator[SimProvider]:
    """A provider that takes signed requests alone."""
    async with SimProvider(ProviderSpec(name="sim", aws=(WHO,), pace=PACE)) as running:
        yield running


@pytest.fixture
async def spare() -> AsyncIterator[SimProvider]:
    """A provider that takes a key."""
    async with SimProvider(ProviderSpec(name="spare", pace=PACE)) as running:
        yield running


def config(sim: SimProvider, spare: SimProvider | None = None, more: str = "") -> str:
    """Return a configuration whose provider ``aws`` is Bedrock, in both of its dialects, at the simulated provider."""
    auth = "auth: {type: aws_sigv4}"
    targets = "aws/openai.gpt-oss-20b-1:0" + ("" if spare is None else ", {target: spare/m, tier: 2}")
    return f"""
providers:
  aws: {{kind: bedrock, region: eu-west-1, base_url: '{sim.url}/openai/v1', {auth}}}
  claude: {{kind: bedrock-anthropic, region: eu-west-1, base_url: '{sim.url}/anthropic/v1', {auth}}}
  spare: {{base_url: '{sim.url if spare is None else spare.url}/v1'}}
models:
  chat: {{targets: [{targets}]{more}}}
  claude: {{targets: [claude/eu.anthropic.claude-sonnet-5-v1:0]}}
telemetry: {{sample: 100%}}
"""


def held(text: str, folder: Path, who: Identity, *, expires: float = 0.0) -> dict[str, ProviderToken]:
    """Return the keys of an identity as control holds them for the providers of a configuration."""
    auths = effective.auths(read_text(text, "test", folder, {}).config, KNOWN)
    keys = Signing("eu-west-1", "bedrock", who.access, who.secret, who.session, expires)
    until_s = clock.wall() + 3600
    return {name: ProviderToken("", clock.wall(), until_s, auth.identity, keys) for name, auth in auths.items()}


async def ask(plane: OneDataPlane, **more: Any) -> str:
    """Ask; return the target that answered."""
    async with openai.AsyncOpenAI(base_url=f"{plane.url}/v1", api_key="x", max_retries=0) as client:
        raw = await client.chat.completions.with_raw_response.create(model="chat", messages=SAID, **more)
        return raw.headers["x-edge-target"]


AWS = "aws/openai.gpt-oss-20b-1:0"


@pytest.mark.parametrize("who", [WHO, TEMPORARY], ids=["fixed", "temporary"])
async def test_each_request_is_signed(sim: SimProvider, tmp_path: Path, who: Identity) -> None:
    """In both dialects, whole and streamed, translated, and with what a caller claims to have signed."""
    sim.spec = structs.replace(sim.spec, aws=(who,))
    text = config(sim)
    async with one_data_plane(text, held=held(text, tmp_path, who)) as plane:
        claims = {"x-amz-date": "20010101T000000Z", "X-Amz-Security-Token": "mine", "x-amzn-bedrock-trace": "ENABLED"}
        assert await ask(plane, extra_headers=claims) == AWS
        async with openai.AsyncOpenAI(base_url=f"{plane.url}/v1", api_key="x", max_retries=0) as client:
            for model in ("chat", "claude", AWS):
                stream = await client.chat.completions.create(model=model, messages=SAID, stream=True)
                assert "".join([part.choices[0].delta.content or "" async for part in stream if part.choices])
        async with anthropic.AsyncAnthropic(base_url=plane.url, api_key="x", max_retries=0) as client:
            for model in ("chat", "claude"):
                said = await client.messages.create(model=model, max_tokens=9, messages=SAID)
                assert said.content
    assert set(sim.stats()["by_target"]) == {"/openai/v1/chat/completions", "/anthropic/v1/messages"}
    assert set(sim.stats()["by_status"]) == {"200"}


async def test_a_wrong_secret_is_the_operators_fault(sim: SimProvider, spare: SimProvider, tmp_path: Path) -> None:
    """Another target answers the caller; the target is out, and the record says what AWS says of the keys."""
    text = config(sim, spare)
    wrong = structs.replace(WHO, secret="x" * 40)
    async with one_data_plane(text, held=held(text, tmp_path, wrong)) as plane:
        assert await ask(plane) == "spare/m"
        assert plane.outcomes(AWS)[Outcome.REFUSED_CREDENTIAL] == 1
        assert plane.target(AWS)["quarantine_reason"] == Outcome.REFUSED_CREDENTIAL
        (record,) = await plane.recorded(1)
        first = record.attempts[0]
        assert first.detail == (
            "status 403 (InvalidSignatureException: the signature does not match: check the secret key, the region "
            "and the service)"
        )
        assert "x" * 40 not in json.dumps(str(record))


@pytest.mark.parametrize("ahead_s", [3600.0, -3600.0], ids=["behind", "ahead"])
async def test_a_clock_that_is_off_is_named(
    sim: SimProvider, spare: SimProvider, tmp_path: Path, ahead_s: float
) -> None:
    """AWS refuses a signature of another time with the code of a wrong one; the record names the clock."""
    sim.spec = structs.replace(sim.spec, ahead_s=ahead_s)
    text = config(sim, spare)
    async with one_data_plane(text, held=held(text, tmp_path, WHO)) as plane:
        assert await ask(plane) == "spare/m"
        (record,) = await plane.recorded(1)
        assert "the clock of this machine differs from that of AWS" in record.attempts[0].detail


async def test_keys_that_aws_takes_for_expired(sim: SimProvider, spare: SimProvider, tmp_path: Path) -> None:
    """The record says so, although this node believes that they last."""
    sim.spec = structs.replace(sim.spec, aws=(structs.replace(WHO, expires=1.0),))
    text = config(sim, spare)
    async with one_data_plane(text, held=held(text, tmp_path, WHO)) as plane:
        assert await ask(plane) == "spare/m"
        (record,) = await plane.recorded(1)
        assert record.attempts[0].detail == "status 403 (ExpiredTokenException: the AWS keys have expired)"


async def test_retries_and_continuations_are_signed_anew(sim: SimProvider, spare: SimProvider, tmp_path: Path) -> None:
    """Another try after a failure, and the rest of a stream that broke off, carry signatures of their own."""
    spare.spec = structs.replace(spare.spec, aws=(WHO,))
    signed = f"'{spare.url}/v1', auth: {{type: aws_sigv4, region: eu-west-1}}"
    text = config(sim, spare, ", retry: {attempts: 3, budget: 100%}, rescue: text").replace(f"'{spare.url}/v1'", signed)
    async with one_data_plane(text, held=held(text, tmp_path, WHO)) as plane:
        await sim.switch(Fault("error", status=500, count=1))
        await ask(plane)
        await sim.switch(Fault("cut", at="middle", count=1))
        async with openai.AsyncOpenAI(base_url=f"{plane.url}/v1", api_key="x", max_retries=0) as client:
            stream = await client.chat.completions.create(model="chat", messages=SAID, stream=True)
            chunks = [chunk async for chunk in stream]
        assert chunks[-1].choices[0].finish_reason == "stop"
        first, second = await plane.recorded(2)
    assert [len(record.attempts) for record in (first, second)] == [2, 2]
    assert set(sim.stats()["by_status"]) | set(spare.stats()["by_status"]) == {"200", "500"}


async def test_copies_and_hedges_are_signed(sim: SimProvider, spare: SimProvider, tmp_path: Path) -> None:
    """A shadow copy, and the second target that is asked beside a slow one, get signatures of their own."""
    spare.spec = structs.replace(spare.spec, aws=(WHO,))
    signed = f"'{spare.url}/v1', auth: {{type: aws_sigv4, region: eu-west-1}}"
    more = ", hedge: {after: 50ms, budget: 100%}, shadow: {target: claude/eu.anthropic.claude-sonnet-5-v1:0}"
    text = config(sim, spare, more).replace(f"'{spare.url}/v1'", signed).replace("tier: 2", "weight: 0.000001")
    async with one_data_plane(text, held=held(text, tmp_path, WHO)) as plane:
        await sim.switch(Fault("latency", delay_s=2.0, path="/v1/chat"))
        for _ in range(3):
            await ask(plane)
        await until(lambda: sim.stats()["by_path"].get("/anthropic/v1/messages", 0) >= 1)
        await until(lambda: "200" in sim.stats()["by_status"])
    assert set(sim.stats()["by_status"]) == {"200"}
    assert set(spare.stats()["by_status"]) == {"200"}


async def test_what_a_provider_keeps(sim: SimProvider, tmp_path: Path) -> None:
    """Requests for it are signed if all of them has come; an upload, which is relayed as it comes, is not sent."""
    auth = "auth: {type: aws_sigv4, region: eu-west-1}"
    text = f"providers: {{own: {{base_url: '{sim.url}/v1', {auth}}}}}\nmodels: {{chat: {{targets: [own/m]}}}}\n"
    async with one_data_plane(text, held=held(text, tmp_path, WHO)) as plane:
        async with openai.AsyncOpenAI(base_url=f"{plane.url}/v1", api_key="x", max_retries=0) as client:
            made = await client.responses.create(model="chat", input="x")
            assert (await client.responses.retrieve(made.id)).id == made.id
            assert [item async for item in client.responses.input_items.list(made.id, limit=1)]
            await client.responses.delete(made.id)
            assert set(sim.stats()["by_status"]) == {"200"}
            asked = sim.stats()["requests"]
            with pytest.raises(openai.InternalServerError, match="signature covers the whole"):
                await client.files.create(file=("a", b"x" * 100_000), purpose="batch")
    assert sim.stats()["requests"] == asked


@pytest.mark.parametrize("query", ["include=a+b", "include=%zz&=&%", "a=%c3%a9&A=~/:@*'", "b=1;2&a=x=y&c"])
async def test_no_query_of_a_caller_breaks_a_signature(sim: SimProvider, tmp_path: Path, query: str) -> None:
    """What servers may read in more than one way is sent as it is signed: a caller could take out a target."""
    auth = "auth: {type: aws_sigv4, region: eu-west-1}"
    text = f"providers: {{own: {{base_url: '{sim.url}/v1', {auth}}}}}\nmodels: {{chat: {{targets: [own/m]}}}}\n"
    async with one_data_plane(text, held=held(text, tmp_path, WHO)) as plane, aiohttp.ClientSession() as client:
        async with client.post(f"{plane.url}/v1/responses", json={"model": "chat", "input": "x"}) as answer:
            made = (await answer.json())["id"]
        async with client.get(URL(f"{plane.url}/v1/responses/{made}?{query}", encoded=True)) as answer:
            assert answer.status == 200, await answer.text()
    assert set(sim.stats()["by_status"]) == {"200"}


@asynccontextmanager
async def denying() -> AsyncIterator[str]:
    """Run a server that denies access as AWS does; yield its URL."""

    async def deny(_request: web.Request) -> web.Response:
        said = {"message": "User: arn:aws:iam::1:user/edge is not authorized to perform: bedrock:InvokeModel"}
        return web.json_response(said, status=403, headers={"x-amzn-ErrorType": "AccessDeniedException:http://x/"})

    app = web.Application()
    app.router.add_post("/{any:.*}", deny)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_what_the_identity_may_not_do(sim: SimProvider, spare: SimProvider, tmp_path: Path) -> None:
    """The operator's fault where the configuration names the model; where the caller chose it, it is the caller's."""
    async with denying() as url:
        text = config(sim, spare).replace(sim.url, url)
        async with one_data_plane(text, held=held(text, tmp_path, WHO)) as plane:
            async with openai.AsyncOpenAI(base_url=f"{plane.url}/v1", api_key="x", max_retries=0) as client:
                with pytest.raises(openai.PermissionDeniedError):
                    await client.chat.completions.create(model="aws/other", messages=SAID)
            assert plane.outcomes("aws/*")[Outcome.CLIENT_FAULT] == 1
            assert await ask(plane) == "spare/m"
            assert plane.target(AWS)["quarantine_reason"] == Outcome.REFUSED_CREDENTIAL


async def test_without_keys_nothing_is_sent(sim: SimProvider, spare: SimProvider, tmp_path: Path) -> None:
    """Neither before the first keys have come nor after their end; the record names the place in the configuration."""
    text = config(sim, spare)
    async with one_data_plane(text) as plane:
        assert await ask(plane) == "spare/m"
        (record,) = await plane.recorded(1)
        assert record.attempts[0].detail == "there are no AWS keys to sign it with: see providers.aws.auth"
        await plane.swap(text, held=held(text, tmp_path, WHO, expires=clock.wall() - 1))
        for target in plane.snapshot.targets:
            plane.shared_state.clear_quarantine(target.slot)
        assert await ask(plane) == "spare/m"
        record = (await plane.recorded(2))[1]
        assert record.attempts[0].detail.startswith("the AWS keys that would sign it have expired")
    assert sim.stats()["requests"] == 0


async def test_keys_that_end_while_a_connection_opens(spare: SimProvider, tmp_path: Path) -> None:
    """An attempt that waited for its connection is not sent when it cannot be signed any more."""
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        listening.setblocking(False)
        address = listening.getsockname()
        for _ in range(3):  # they take the places of the queue: the next connection waits
            filling = stack.enter_context(socket.socket())
            filling.setblocking(False)
            filling.connect_ex(address)
        text = f"""
providers:
  aws: {{kind: bedrock, region: eu-west-1, base_url: 'http://127.0.0.1:{address[1]}', auth: {{type: aws_sigv4}}}}
  spare: {{base_url: '{spare.url}/v1'}}
models: {{chat: {{targets: [aws/m, {{target: spare/m, tier: 2}}]}}}}
defaults: {{timeouts: {{connect: 10s, total: 20s}}}}
telemetry: {{sample: 100%}}
"""
        async with one_data_plane(text, held=held(text, tmp_path, WHO)) as plane:
            asked = asyncio.create_task(ask(plane))
            await until(lambda: plane.target("aws/m")["counts"][TargetCounter.T_ATTEMPTS] == 1)
            await plane.swap(text, held={})
            taken = []
            while not asked.done():
                with contextlib.suppress(TimeoutError):
                    taken.append((await asyncio.wait_for(loop.sock_accept(listening), 0.1))[0])
            assert await asked == "spare/m"
            (record,) = await plane.recorded(1)
            assert record.attempts[0].detail.startswith("there are no AWS keys to sign it with")
            for each in taken:
                stack.enter_context(each).setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    assert each.recv(100) == b""


async def test_an_attempt_is_signed_with_the_keys_of_its_moment(sim: SimProvider, tmp_path: Path) -> None:
    """Keys that are renewed while a request is queued sign its next attempt, over the connection that is there."""
    text = config(sim, more=", retry: {attempts: 3, same_target: 2, budget: 100%}")
    async with one_data_plane(text, held=held(text, tmp_path, WHO)) as plane:
        assert await ask(plane) == AWS
        seen = sim.stats()["connections_seen"]
        for turn in range(4):
            who = (TEMPORARY, WHO)[turn % 2]
            sim.spec = structs.replace(sim.spec, aws=(who,))
            await plane.swap(text, held=held(text, tmp_path, who))
            assert await ask(plane) == AWS
        assert sim.stats()["connections_seen"] == seen
    await until(lambda: set(sim.stats()["by_status"]) == {"200"})
