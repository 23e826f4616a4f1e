"""Symptoms from public reports: one caller's request must not take a target from others, nor may its reason get lost.

Each test is a report: what a provider answers, and what callers must see. A new report is a new line or a new test.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from one_data_plane import models, one_data_plane, post, whole

from edge.native import Outcome
from edge.sim.wire import Again, ReadMessage, ScriptedServer, Send

if TYPE_CHECKING:
    from one_data_plane import OneDataPlane

    from edge.sim.wire import Peer

pytestmark = pytest.mark.usefixtures("both_wires")

GOOD = (ReadMessage(), Send(whole()), Again())
FIELDS = b"x-request-id: req-7\r\n"


def refusal(status: bytes, content: bytes, fields: bytes = b"") -> bytes:
    """Return an error of a provider as bytes."""
    head = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n" % (status, len(content))
    return head + FIELDS + fields + b"\r\n" + content


def told(message: str, **more: object) -> bytes:
    """Return an error body in OpenAI's shape."""
    return json.dumps({"error": {"message": message, **more}}).encode()


def prompt(text: str, model: str = "chat") -> bytes:
    """Return a request with this prompt."""
    return post(json.dumps({"model": model, "messages": [{"role": "user", "content": text}]}).encode())


ABOUT_ONE_REQUEST = {
    "no-images": (b"404 Not Found", told("No endpoints found that support image input", code=404), b""),
    "no-tools": (b"404 Not Found", told("No endpoints found that support tool use."), b""),
    "vector-store": (b"404 Not Found", told("Vector store with id [vs_abc123] not found."), b""),
    "file": (b"404 Not Found", told("No such File object: file-A1b2C3", type="invalid_request_error"), b""),
    "response": (b"404 Not Found", told("Previous response with id 'resp_68a' not found."), b""),
    "unknown": (b"404 Not Found", b'{"detail":"Not Found"}', b""),
    "no-body": (b"404 Not Found", b"", b""),
    "gone": (b"410 Gone", told("This file has expired."), b""),
    "content": (b"403 Forbidden", b'{"code":"x","error":"Content violates usage guidelines."}', b""),
    "moderation": (b"403 Forbidden", told("Your input was flagged", metadata={"reasons": ["x"]}), b""),
    "unknown-403": (b"403 Forbidden", told("This operation is not permitted."), b""),
    "fewer-tokens": (
        b"402 Payment Required",
        told("This request requires more credits, or fewer max_tokens. You requested up to 65536 tokens"),
        b"",
    ),
    "unknown-402": (b"402 Payment Required", told("Payment required"), b""),
    "too-large": (
        b"429 Too Many Requests",
        told("Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 45000.", type="tokens"),
        b"x-ratelimit-remaining-tokens: 29000\r\nx-ratelimit-reset-tokens: 2s\r\n",
    ),
    "room-left": (
        b"429 Too Many Requests",
        told("This would exceed the limit of tokens per minute.", type="tokens", code="rate_limit_exceeded"),
        b"x-ratelimit-remaining-tokens: 900\r\nx-ratelimit-remaining-requests: 99\r\nretry-after: 20\r\n",
    ),
}


@pytest.mark.parametrize("report", ABOUT_ONE_REQUEST)
async def test_one_callers_request_takes_the_only_target_from_nobody(report: str) -> None:
    """The caller gets status, words and fields of the provider, as often as it asks; the next caller gets an answer."""
    status, content, fields = ABOUT_ONE_REQUEST[report]
    bad = (ReadMessage(), Send(refusal(status, content, fields)))
    script = (*bad, *bad, *bad, *GOOD)
    async with ScriptedServer(script) as provider, one_data_plane(models(provider.url)) as edge:
        for _ in range(3):
            answer = await edge.ask(prompt("a picture"), content or b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 " + status[:3])
            assert answer.endswith(content)
            assert b"x-request-id: req-7\r\n" in answer
            assert b"x-edge-target: p0/m\r\n" in answer
            assert b"x-edge-reason" not in answer
        assert b"hello" in await edge.ask(prompt("text"), b"hello")
        assert not benched(edge)


def benched(edge: OneDataPlane, name: str = "p0/m") -> bool:
    """Return whether a target gets no requests."""
    target = edge.target(name)
    return target["state"] != "closed" or any(
        target[name] > target["now_ns"] for name in ("quarantined_until_ns", "rate_limited_until_ns")
    )


@pytest.mark.parametrize("report", sorted(set(ABOUT_ONE_REQUEST) - {"content", "moderation"}))
async def test_another_target_may_do_better(report: str) -> None:
    """A target that may differ is asked at once, and the retry budget is not spent on it."""
    status, content, fields = ABOUT_ONE_REQUEST[report]
    bad = (ReadMessage(), Send(refusal(status, content, fields)), Again())
    defaults = "defaults: {retry: {budget: 0%}}"
    async with ScriptedServer(bad) as primary, ScriptedServer(GOOD) as backup:
        async with one_data_plane(models(primary.url, backup.url, defaults=defaults)) as edge:
            for _ in range(6):
                answer = await edge.ask(prompt("the same"), b"hello")
                assert b"x-edge-target: p1/m\r\n" in answer
                assert b"x-edge-attempts: 2\r\n" in answer
                assert b"x-edge-reason: p0/m: client_fault\r\n" in answer
            assert not benched(edge)
            assert edge.outcomes("p0/m")[Outcome.CLIENT_FAULT] == 6


@pytest.mark.parametrize("report", ["content", "moderation"])
async def test_a_refusal_of_content_is_not_offered_elsewhere(report: str) -> None:
    """What one provider refuses for its content is not sent to the next one."""
    status, content, fields = ABOUT_ONE_REQUEST[report]
    bad = (ReadMessage(), Send(refusal(status, content, fields)), Again())
    async with ScriptedServer(bad) as primary, ScriptedServer(GOOD) as backup:
        async with one_data_plane(models(primary.url, backup.url)) as edge:
            answer = await edge.ask(prompt("x"), content)
            assert answer.startswith(b"HTTP/1.1 403 ")
            assert backup.peers == []


async def test_the_first_refusal_is_relayed() -> None:
    """If no target takes the request, the caller gets the words of the first that declined it."""
    first = (
        ReadMessage(),
        Send(refusal(b"404 Not Found", told("No endpoints found that support image input"))),
        Again(),
    )
    second = (ReadMessage(), Send(refusal(b"402 Payment Required", told("Payment required"))), Again())
    third = (ReadMessage(), Send(whole(b"busy", b"503 Service Unavailable")), Again())
    async with ScriptedServer(first) as one, ScriptedServer(second) as two, ScriptedServer(third) as three:
        async with one_data_plane(models(one.url, two.url, three.url)) as edge:
            answer = await edge.ask(prompt("x"), b"image input")
            assert answer.startswith(b"HTTP/1.1 404 ")
            assert b"x-edge-target: p0/m\r\n" in answer
            assert b"x-edge-attempts: 3\r\n" in answer


@pytest.mark.parametrize(
    ("status", "message", "outcome"),
    [
        (b"404 Not Found", "There is no such model here", Outcome.MISCONFIGURED),
        (b"402 Payment Required", "Payment required", Outcome.REFUSED_CREDENTIAL),
        (b"403 Forbidden", "Access denied", Outcome.REFUSED_CREDENTIAL),
    ],
)
async def test_what_other_requests_meet_too_is_about_the_target(status: bytes, message: str, outcome: Outcome) -> None:
    """Two different requests that fail alike take the target out; the same request twice does not."""
    bad = (ReadMessage(), Send(refusal(status, told(message))), Again())
    async with ScriptedServer(bad) as primary, ScriptedServer(GOOD) as backup:
        async with one_data_plane(models(primary.url, backup.url)) as edge:
            for _ in range(4):
                await edge.ask(prompt("one"), b"hello")
            assert not benched(edge)
            assert b"x-edge-target: p1/m\r\n" in await edge.ask(prompt("two"), b"hello")
            assert benched(edge)
            assert edge.target("p0/m")["quarantine_reason"] == outcome
            await edge.ask(prompt("three"), b"hello")
            assert asked(primary.peers) == 5


def asked(peers: list[Peer]) -> int:
    """Return how many requests a server has read."""
    return sum(len(peer.messages) for peer in peers)


async def test_a_good_answer_refutes_what_failed_before_it() -> None:
    """If a request was answered in between, two that failed alike prove nothing."""
    bad = (ReadMessage(), Send(refusal(b"404 Not Found", told("Not Found"))))
    good = (ReadMessage(), Send(whole()))
    async with ScriptedServer((*bad, *good, *bad, *GOOD)) as provider, one_data_plane(models(provider.url)) as edge:
        for text, mark in (("one", b"Not Found"), ("two", b"hello"), ("three", b"Not Found"), ("four", b"hello")):
            assert mark in await edge.ask(prompt(text), mark + b'"}')
        assert not benched(edge)


async def test_an_answer_that_quotes_its_request_is_about_that_request() -> None:
    """An id of the request in the error shows that the error is about it, however many requests fail so."""
    answers = [refusal(b"404 Not Found", told(f"Nothing is known of ctr_{n}77")) for n in range(4)]
    script = [step for answer in answers for step in (ReadMessage(), Send(answer))]
    async with ScriptedServer(script) as provider, one_data_plane(models(provider.url)) as edge:
        for n in range(4):
            assert b"Nothing is known" in await edge.ask(prompt(f"use ctr_{n}77"), b'"}}')
        assert not benched(edge)


KEYS = """
keys:
  - {name: one, sha256: "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"}
  - {name: two, sha256: "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3"}
"""


def by(key: bytes, text: str) -> bytes:
    """Return a request of a caller."""
    return prompt(text).replace(b"host: localhost\r\n", b"host: localhost\r\nauthorization: Bearer " + key + b"\r\n", 1)


async def test_one_of_several_callers_cannot_take_the_target_from_the_others() -> None:
    """Where several keys are active, only requests of different keys that fail alike take the target out."""
    bad = (ReadMessage(), Send(refusal(b"404 Not Found", told("Not Found"))))
    good = (ReadMessage(), Send(whole()))
    script = (*good, *bad, *bad, *bad, *bad, *good)
    async with ScriptedServer(script) as provider, one_data_plane(models(provider.url, extra=KEYS)) as edge:
        await edge.ask(by(b"one", "well"), b"hello")
        for n in range(3):
            assert b"Not Found" in await edge.ask(by(b"two", f"try {n}"), b'"}}')
            assert not benched(edge)
        assert b"Not Found" in await edge.ask(by(b"one", "also"), b'"}}')
        assert benched(edge)


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (b"401 Unauthorized", told("no")),
        (b"402 Payment Required", told("Insufficient Balance", type="unknown_error")),
        (b"403 Forbidden", told("deactivated", code="account_deactivated")),
        (
            b"404 Not Found",
            told("The model `m` does not exist.", code="model_not_found"),
        ),
        (b"404 Not Found", b'{"object":"error","message":"The model `m` does not exist.","type":"NotFoundError"}'),
        (b"404 Not Found", b'{"error":{"code":"DeploymentNotFound","message":"no deployment"}}'),
        (b"429 Too Many Requests", told("quota", type="insufficient_quota", code="insufficient_quota")),
    ],
)
async def test_known_words_about_the_account_or_the_model_act_at_once(status: bytes, content: bytes) -> None:
    """One answer is enough where its words leave no doubt; the caller does not get them."""
    bad = (ReadMessage(), Send(refusal(status, content)), Again())
    async with ScriptedServer(bad) as provider, one_data_plane(models(provider.url)) as edge:
        answer = await edge.ask(prompt("x"), b"]}}")
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert content not in answer
        assert edge.target("p0/m")["quarantined_until_ns"] > edge.target("p0/m")["now_ns"]


LONG = told("This model's maximum context length is 8192 tokens", code="context_length_exceeded")


def windows(*urls: str, sizes: tuple[int, ...]) -> str:
    """Return a configuration with a context window for each target."""
    text = models(*urls)
    for n, size in enumerate(sizes):
        text = text.replace(f"tier: {n + 1}}}", f"tier: {n + 1}, context_window: {size}}}")
    return text


@pytest.mark.parametrize("status", [b"400 Bad Request", b"413 Content Too Large"])
async def test_a_prompt_that_is_too_long_goes_to_a_larger_window(status: bytes) -> None:
    """A target with a smaller window is passed over; the one with a larger window answers."""
    bad = (ReadMessage(), Send(refusal(status, LONG)), Again())
    async with ScriptedServer(bad) as one, ScriptedServer(GOOD) as small, ScriptedServer(GOOD) as large:
        text = windows(one.url, small.url, large.url, sizes=(8192, 4096, 128_000))
        async with one_data_plane(text) as edge:
            answer = await edge.ask(prompt("long"), b"hello")
            assert b"x-edge-target: p2/m\r\n" in answer
            assert small.peers == []


async def test_a_prompt_that_is_too_long_everywhere_gets_the_first_refusal() -> None:
    """Each larger window is tried once, and the first refusal is relayed."""
    bad = (ReadMessage(), Send(refusal(b"400 Bad Request", LONG)), Again())
    also = (ReadMessage(), Send(refusal(b"400 Bad Request", LONG.replace(b"8192", b"128000"))), Again())
    async with ScriptedServer(bad) as one, ScriptedServer(also) as large:
        async with one_data_plane(windows(one.url, large.url, sizes=(8192, 128_000))) as edge:
            answer = await edge.ask(prompt("long"), LONG)
            assert answer.startswith(b"HTTP/1.1 400 ")
            assert b"x-edge-target: p0/m\r\n" in answer
            assert (asked(one.peers), asked(large.peers)) == (1, 1)


async def test_the_same_model_has_the_same_window() -> None:
    """Where no window is known, a target with the same model is not asked again."""
    bad = (ReadMessage(), Send(refusal(b"400 Bad Request", LONG)), Again())
    async with ScriptedServer(bad) as one, ScriptedServer(GOOD) as two:
        async with one_data_plane(models(one.url, two.url)) as edge:
            assert (await edge.ask(prompt("long"), LONG)).startswith(b"HTTP/1.1 400 ")
            assert two.peers == []


async def test_another_model_may_have_a_larger_window() -> None:
    """Where no window is known, a target with another model is asked."""
    bad = (ReadMessage(), Send(refusal(b"400 Bad Request", LONG)), Again())
    async with ScriptedServer(bad) as one, ScriptedServer(GOOD) as two:
        async with one_data_plane(models(one.url, two.url).replace("p1/m", "p1/bigger")) as edge:
            assert b"x-edge-target: p1/bigger\r\n" in await edge.ask(prompt("long"), b"hello")


SMALL, SAME, LARGE = "gpt-4o", "gpt-4o-mini-2024-07-18", "gpt-4.1"


def known_models(*urls: str) -> str:
    """Return a configuration of models that edge knows, with windows of 128,000, 128,000 and 1,047,576 tokens."""
    text = models(*urls).replace("dialect: openai", "kind: openai")
    for n, model in enumerate((SMALL, SAME, LARGE)):
        text = text.replace(f"p{n}/m,", f"p{n}/{model},")
    return text


async def test_edge_knows_the_windows_of_known_models() -> None:
    """A prompt that is too long for a known model goes to a known one with a larger window, unconfigured."""
    bad = (ReadMessage(), Send(refusal(b"400 Bad Request", LONG)), Again())
    async with ScriptedServer(bad) as one, ScriptedServer(GOOD) as same, ScriptedServer(GOOD) as large:
        async with one_data_plane(known_models(one.url, same.url, large.url)) as edge:
            answer = await edge.ask(prompt("long"), b"hello")
            assert f"x-edge-target: p2/{LARGE}\r\n".encode() in answer
            assert same.peers == []
            assert not benched(edge, f"p0/{SMALL}")


async def test_the_largest_of_known_models_is_asked_once() -> None:
    """If the larger window is too small as well, the first refusal is relayed, and each was asked once."""
    bad = (ReadMessage(), Send(refusal(b"400 Bad Request", LONG)), Again())
    also = (ReadMessage(), Send(refusal(b"400 Bad Request", LONG.replace(b"8192", b"1047576"))), Again())
    async with ScriptedServer(bad) as one, ScriptedServer(GOOD) as same, ScriptedServer(also) as large:
        async with one_data_plane(known_models(one.url, same.url, large.url)) as edge:
            answer = await edge.ask(prompt("long"), LONG)
            assert answer.startswith(b"HTTP/1.1 400 ")
            assert (asked(one.peers), len(same.peers), asked(large.peers)) == (1, 0, 1)


STALLED = b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 100\r\nretry-after: 30\r\n\r\n{"


async def test_a_refusal_whose_body_never_comes_is_judged_by_its_head() -> None:
    """The body of an error may change what it means, but is not waited for without end."""
    async with ScriptedServer((ReadMessage(), Send(STALLED), ReadMessage())) as one, ScriptedServer(GOOD) as two:
        async with one_data_plane(models(one.url, two.url)) as edge:
            assert b"x-edge-target: p1/m\r\n" in await edge.ask(prompt("x"), b"hello")
            assert edge.target("p0/m")["rate_limited_until_ns"] > edge.target("p0/m")["now_ns"]
