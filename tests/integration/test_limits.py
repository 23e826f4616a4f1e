"""Limits of keys on requests, tokens, concurrency and money; limits of providers; the time that a client waits."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from callers import ask, bearer, field, get, keys, status
from one_data_plane import DONE, HELLO, OneDataPlane, models, one_data_plane, patient, post, sse, whole

from edge import clock
from edge.native import AllowanceCounter, Outcome, RouteCounter, TargetCounter
from edge.sim.wire import Again, Close, Pause, ReadMessage, ReadToEnd, ReadUntil, ScriptedServer, Send, play_client
from edge.telemetry.usage import month_of

S = 1_000_000_000
GOOD = (ReadMessage(), Send(whole()), Again())
END = b"}}"


def error(answer: bytes) -> dict[str, str]:
    """Return the error of a body."""
    found: dict[str, str] = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    return found


def record(data_plane: OneDataPlane, number: int = 0) -> tuple[int, ...]:
    """Return the counters of a key's allowance."""
    allowance = data_plane.snapshot.keys[number].allowance
    assert allowance is not None
    return data_plane.shared_state.read_allowance(allowance.slot)["counts"]


@pytest.mark.usefixtures("both_wires")
async def test_requests() -> None:
    """The burst passes, the next request gets 429 with the exact wait; other keys are not affected."""
    async with (
        ScriptedServer(GOOD) as upstream,
        one_data_plane(
            models(upstream.url)
            + keys(alice="requests_per_minute: 6, requests_burst: 3", bob="requests_per_minute: 60")
        ) as data_plane,
    ):
        for left in (2, 1, 0):
            answer = await data_plane.ask(ask("alice"), b"hello")
            assert field(answer, "x-ratelimit-limit-requests") == "6"
            assert field(answer, "x-ratelimit-remaining-requests") == str(left)
            assert field(answer, "x-ratelimit-limit-tokens") is None
        reset = field(answer, "x-ratelimit-reset-requests") or ""  # 30 s where all three took less than 1 ms
        assert reset == "30s" or reset.startswith("29.")
        refused = await data_plane.ask(ask("alice"), END)
        assert (status(refused), field(refused, "retry-after")) == (429, "10")
        assert error(refused)["code"] == "rate_limit_exceeded"
        assert error(refused)["type"] == "requests"
        assert field(refused, "x-ratelimit-remaining-requests") == "0"
        assert status(await data_plane.ask(ask("bob"), b"hello")) == 200
        assert record(data_plane)[AllowanceCounter.A_REQUESTS] == 3
        assert record(data_plane)[AllowanceCounter.A_REFUSED_REQUESTS] == 1
        assert (
            data_plane.shared_state.read_route(data_plane.snapshot.routes[0].slot)["counts"][RouteCounter.R_LIMITED]
            == 1
        )


async def test_tokens() -> None:
    """Tokens are reserved from the body and max_tokens, and settled to the provider's usage."""
    good = whole(b'{"choices":[{"message":{"content":"hello"}}],"usage":{"prompt_tokens":20,"completion_tokens":10}}')
    async with (
        ScriptedServer((ReadMessage(), Send(good), Again())) as upstream,
        one_data_plane(models(upstream.url) + keys(alice="tokens_per_minute: 60, tokens_burst: 500")) as data_plane,
    ):
        body = b'{"model":"chat","max_tokens":400,"messages":[]}'
        for used in (30, 60):  # a whole answer tells of what it used; of its reservation nothing is left
            answer = await data_plane.ask(ask("alice", body), b"hello")
            assert int(field(answer, "x-ratelimit-remaining-tokens") or 0) - (500 - used) in (0, 1)
        refused = await data_plane.ask(ask("alice", body.replace(b"400", b"480")), END)
        assert (status(refused), error(refused)["type"]) == (429, "tokens")
        short = 480 + len(body) // 4 - (500 - 60)
        assert int(field(refused, "retry-after") or 0) in (short - 1, short)
        counts = record(data_plane)
        assert counts[AllowanceCounter.A_PROMPT_TOKENS] == 40
        assert counts[AllowanceCounter.A_OUTPUT_TOKENS] == 20
        assert counts[AllowanceCounter.A_REFUSED_TOKENS] == 1
        assert counts[AllowanceCounter.A_RESERVED] - counts[AllowanceCounter.A_RETURNED] == 60


async def test_a_failure_tells_that_it_cost_nothing() -> None:
    """The 503 of an unanswered request already reports a full bucket."""
    bad = (ReadMessage(), Send(whole(b"{}", b"500 Internal Server Error")), Close())
    async with (
        ScriptedServer(bad) as upstream,
        one_data_plane(models(upstream.url) + keys(alice="tokens_per_minute: 60, tokens_burst: 900")) as data_plane,
    ):
        failed = await data_plane.ask(ask("alice"), END)
        assert (status(failed), field(failed, "x-ratelimit-remaining-tokens")) == (503, "900")


async def test_a_usage_that_cannot_be_is_not_believed() -> None:
    """An absurd prompt counts as missing, an absurd output as max_tokens: sums neither overflow nor refill a bucket."""
    count = 2**63 - 1
    usage = b'{"choices":[{"message":{"content":"hello"}}],"usage":{"prompt_tokens":%d,"completion_tokens":%d}}'
    async with (
        ScriptedServer((ReadMessage(), Send(whole(usage % (count, count))), Again())) as upstream,
        one_data_plane(models(upstream.url) + keys(alice="tokens_per_minute: 60, tokens_burst: 900")) as data_plane,
    ):
        body = b'{"model":"chat","max_tokens":400,"messages":[]}'
        answer = await data_plane.ask(ask("alice", body), b"hello")
        assert status(answer) == 200
        counts = record(data_plane)
        assert counts[AllowanceCounter.A_PROMPT_TOKENS] == len(body) // 4
        assert counts[AllowanceCounter.A_OUTPUT_TOKENS] == 400
        assert int(field(answer, "x-ratelimit-remaining-tokens") or 0) < 900


async def test_answers_teach_what_to_reserve() -> None:
    """Without max_tokens, the size that 19 of 20 answers stay below is reserved, once there are enough answers."""
    good = whole(b'{"choices":[{"message":{"content":"hello"}}],"usage":{"prompt_tokens":1,"completion_tokens":100}}')
    async with (
        ScriptedServer((ReadMessage(), Send(good), Again())) as upstream,
        one_data_plane(models(upstream.url) + keys(alice="tokens_per_minute: 60, tokens_burst: 90000")) as data_plane,
    ):
        body = b'{"model":"chat","messages":[]}'
        before = 0
        for number in range(21):
            await data_plane.ask(ask("alice", body), b"hello")
            reserved = record(data_plane)[AllowanceCounter.A_RESERVED]
            assert reserved - before == len(body) // 4 + (512 if number < 20 else 127)
            before = reserved


async def test_places() -> None:
    """The limit of concurrent requests holds; a slot becomes free at the end, also when the client leaves."""
    stall = (ReadMessage(), Send(sse(HELLO, end=False)), Pause(30.0))
    async with (
        ScriptedServer(stall) as upstream,
        one_data_plane(models(upstream.url) + keys(alice="concurrent: 2")) as data_plane,
    ):
        body = b'{"model":"chat","stream":true}'
        first, second = [await asyncio.open_connection("127.0.0.1", data_plane.port) for _ in range(2)]
        for reader, writer in (first, second):
            writer.write(ask("alice", body))
            await reader.readuntil(b"hello")
        refused = await data_plane.ask(ask("alice", body), END)
        assert (status(refused), field(refused, "retry-after")) == (429, "1")
        assert record(data_plane)[AllowanceCounter.A_REFUSED_CONCURRENT] == 1
        first[1].close()
        for _ in range(200):
            if data_plane.shared_state.read_allowance(data_plane.snapshot.keys[0].allowance.slot)["inflight"] == 1:  # type: ignore[union-attr]
                break
            await asyncio.sleep(0.01)
        assert status(await data_plane.ask(ask("alice", body), b"hello")) == 200
        second[1].close()


async def test_money() -> None:
    """With a spent budget models are refused until the month ends, with that message; services go on."""
    good = whole(
        b'{"choices":[{"message":{"content":"hello"}}],"usage":{"prompt_tokens":1000,"completion_tokens":500}}'
    )
    async with ScriptedServer((ReadMessage(), Send(good), Again())) as upstream, ScriptedServer(GOOD) as service:
        text = models(upstream.url).replace("/v1'}", "/v1', prices: {'*': {input: 2, output: 8}}}")
        text += f"services: {{s: {{match: {{path: /s}}, targets: ['{service.address}'], protocol: http1}}}}\n"
        async with one_data_plane(text + keys(alice="budget: 0.01")) as data_plane:
            assert status(await data_plane.ask(ask("alice"), b"hello")) == 200
            assert status(await data_plane.ask(ask("alice"), b"hello")) == 200
            refused = await data_plane.ask(ask("alice"), END)
            assert (status(refused), error(refused)["code"]) == (429, "insufficient_quota")
            month = time.gmtime(clock.wall() + int(field(refused, "retry-after") or 0) + 1)
            assert (month.tm_mday, month.tm_hour) == (1, 0)
            assert status(await data_plane.ask(get("/s", bearer("alice")), b"hello")) == 200
            assert record(data_plane)[AllowanceCounter.A_COST_NANO] == 2 * (1000 * 2000 + 500 * 8000)


async def test_last_months_money() -> None:
    """A budget that was spent last month is whole this month, and starts at 0."""
    usage = whole(b'{"choices":[{"message":{"content":"hello"}}],"usage":{"prompt_tokens":1000,"completion_tokens":0}}')
    async with ScriptedServer((ReadMessage(), Send(usage), Again())) as upstream:
        text = models(upstream.url).replace("/v1'}", "/v1', prices: {'*': {input: 1000}}}")  # a dollar each
        async with one_data_plane(text + keys(alice="budget: 1")) as data_plane:
            data_plane.shared_state.set_spent(0, month_of(clock.wall()) - 1, 99 * S)
            assert [status(await data_plane.ask(ask("alice"), END)) for _ in range(2)] == [200, 429]
            assert data_plane.shared_state.read_allowance(0)["spent_nano"] == S


@pytest.mark.parametrize("ahead", [1, 240])
async def test_money_of_a_month_that_has_not_come(ahead: int) -> None:
    """After a wrong clock is corrected, earlier and new spending both count, and the budget holds."""
    usage = whole(b'{"choices":[{"message":{"content":"hello"}}],"usage":{"prompt_tokens":1000,"completion_tokens":0}}')
    async with ScriptedServer((ReadMessage(), Send(usage), Again())) as upstream, ScriptedServer(GOOD) as service:
        text = models(upstream.url).replace("/v1'}", "/v1', prices: {'*': {input: 1000}}}")  # a dollar each
        text += f"services: {{s: {{match: {{path: /s}}, targets: ['{service.address}'], protocol: http1}}}}\n"
        async with one_data_plane(text + keys(alice="budget: 3")) as data_plane:
            data_plane.shared_state.set_spent(0, month_of(clock.wall()) + ahead, S)
            assert [status(await data_plane.ask(ask("alice"), END)) for _ in range(3)] == [200, 200, 429]
            assert data_plane.shared_state.read_allowance(0)["spent_nano"] == 3 * S
            assert status(await data_plane.ask(get("/s", bearer("alice")), b"hello")) == 200


async def test_a_part_of_a_common_budget() -> None:
    """This node's part of a shared budget limits the key in its month; otherwise a third of the budget does."""
    usage = whole(b'{"choices":[{"message":{"content":"hello"}}],"usage":{"prompt_tokens":1000,"completion_tokens":0}}')
    async with ScriptedServer((ReadMessage(), Send(usage), Again())) as upstream:
        text = models(upstream.url).replace("/v1'}", "/v1', prices: {'*': {input: 1000}}}")  # a dollar each
        async with one_data_plane(text + keys(alice="budget: 9, scope: global")) as data_plane:
            month = month_of(clock.wall())
            statuses = []
            for spoken, ceiling in ((0, 0), (month, S), (month, S + 1), (month, 0), (month - 1, 0), (month - 1, 9 * S)):
                if spoken:
                    data_plane.shared_state.set_ceiling(0, spoken, ceiling)
                statuses.append(status(await data_plane.ask(ask("alice"), END)))
            # spent before each: 0, 1, 1, 2, 2, 3
            assert statuses == [200, 429, 200, 429, 200, 429]
            assert data_plane.shared_state.read_allowance(0)["spent_nano"] == 3 * S


async def test_a_part_of_common_places() -> None:
    """This node's part of the concurrent requests may be 0, until it expires."""
    async with (
        ScriptedServer(GOOD) as upstream,
        one_data_plane(models(upstream.url) + keys(alice="concurrent: 2, scope: global")) as data_plane,
    ):
        statuses = []
        for concurrent, lasts in ((None, True), (0, True), (1, True), (0, False)):
            now_ns = clock.now_ns()
            until_ns = now_ns + 60 * S if lasts else now_ns - 1
            data_plane.shared_state.set_shares(
                0, 0, 0, until_ns=until_ns, nodes=3, now_ns=now_ns, concurrent=concurrent
            )
            statuses.append(status(await data_plane.ask(ask("alice"), END)))
        assert statuses == [200, 429, 200, 200], "cut off, one of three may have one of two"


def granted(text: str, limits: str) -> str:
    """Return the first provider with these limits."""
    return text.replace("/v1'}", f"/v1', limits: {{{limits}}}}}", 1)


async def test_an_exhausted_credential_is_passed_over() -> None:
    """A provider's limits are never exceeded and never waited for, and are reported if no target is left."""
    async with ScriptedServer(GOOD) as primary, ScriptedServer(GOOD) as backup:
        text = granted(models(primary.url, backup.url), "requests_per_minute: 20")  # a burst of two
        async with one_data_plane(text) as data_plane:
            targets = [field(await data_plane.ask(post(), b"hello"), "x-edge-target") for _ in range(4)]
            assert targets == ["p0/m", "p0/m", "p1/m", "p1/m"]
            answer = await data_plane.ask(post(), b"hello")
            assert field(answer, "x-edge-reason") == "p0/m: exhausted"
            assert data_plane.target("p0/m")["counts"][TargetCounter.T_EXHAUSTED] == 3
        async with one_data_plane(granted(models(primary.url), "requests_per_minute: 20")) as data_plane:
            for _ in range(2):
                await data_plane.ask(post(), b"hello")
            refused = await data_plane.ask(post(), END)
            assert (status(refused), field(refused, "retry-after")) == (503, "3")
            assert b"used up" in refused


TOLD = {
    "openai": b"x-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: 30s\r\n",
    "anthropic": (
        b"anthropic-ratelimit-requests-remaining: 0\r\nanthropic-ratelimit-requests-reset: 2099-01-01T00:00:00Z\r\n"
    ),
    "tokens": b"x-ratelimit-remaining-tokens: 0\r\nx-ratelimit-reset-tokens: 1m0s\r\n",
    "mistral": b"x-ratelimit-remaining-req-minute: 0\r\nratelimitbysize-remaining: 0\r\nratelimitbysize-reset: 28\r\n",
    "mistral-tokens": (
        b"x-ratelimit-remaining-tokens-minute: 0\r\nx-ratelimitbysize-limit-minute: 9\r\nretry-after: 28\r\n"
    ),
}


@pytest.mark.parametrize("who", TOLD)
async def test_a_provider_that_says_how_little_is_left_is_believed(who: str) -> None:
    """After an answer with nothing remaining, the next request goes elsewhere, without a 429 in between."""
    answer = whole().replace(b"content-length", TOLD[who] + b"content-length", 1)
    async with ScriptedServer((ReadMessage(), Send(answer), Again())) as primary, ScriptedServer(GOOD) as backup:
        text = granted(models(primary.url, backup.url), "requests_per_minute: 6000, tokens_per_minute: 6000000")
        async with one_data_plane(text + keys(alice="requests_per_minute: 600")) as data_plane:
            first = await data_plane.ask(ask("alice"), b"hello")
            assert field(first, "x-edge-target") == "p0/m"
            assert b"reset-tokens: 1m0s" not in first
            assert b"anthropic" not in first
            assert b"minute" not in first
            assert b"bysize" not in first
            assert field(await data_plane.ask(ask("alice"), b"hello"), "x-edge-target") == "p1/m"
            assert data_plane.outcomes("p0/m")[Outcome.RATE_LIMITED] == 0
            counts = data_plane.shared_state.read_allowance(data_plane.snapshot.credentials[0].allowance.slot)["counts"]
            assert counts[AllowanceCounter.A_LEARNED] == 1


async def test_without_keys_a_providers_words_go_through() -> None:
    """Without keys the provider's own x-ratelimit fields are relayed."""
    answer = whole().replace(b"content-length", TOLD["openai"] + b"content-length", 1)
    async with (
        ScriptedServer((ReadMessage(), Send(answer), Again())) as upstream,
        one_data_plane(models(upstream.url)) as data_plane,
    ):
        assert field(await data_plane.ask(post(), b"hello"), "x-ratelimit-reset-requests") == "30s"


@pytest.mark.usefixtures("both_wires")
async def test_a_clients_deadline() -> None:
    """x-request-timeout ends an exchange before its answer; a malformed value is refused by name."""
    slow = (ReadMessage(), Pause(0.4), Send(whole()), Again())
    async with ScriptedServer(slow) as upstream, one_data_plane(patient(models(upstream.url))) as data_plane:
        late = await data_plane.ask(post(fields=b"x-request-timeout: 150ms\r\n"), END)
        assert (status(late), error(late)["code"]) == (504, "deadline_exceeded")
        assert status(await data_plane.ask(post(fields=b"x-request-timeout: 20\r\n"), b"hello")) == 200
        assert (
            status(await data_plane.ask(post(fields=b"x-request-timeout: 99999999999999999999\r\n"), b"hello")) == 200
        )
        odd = await data_plane.ask(post(fields=b"x-request-timeout: soon\r\n"), END)
        assert (status(odd), error(odd)["code"]) == (400, "request_timeout")
        assert all(b"x-request-timeout" not in peer.received for peer in upstream.peers)


async def test_of_two_deadlines_the_earlier_holds() -> None:
    """The earlier of two deadlines applies, whatever their order in the head."""
    async with (
        ScriptedServer((ReadMessage(), ReadToEnd())) as upstream,
        one_data_plane(models(upstream.url)) as data_plane,
    ):
        for first, second in ((b"150ms", b"30"), (b"30", b"150ms")):
            fields = b"x-request-timeout: " + first + b"\r\nx-request-timeout: " + second + b"\r\n"
            late = await data_plane.ask(post(fields=fields), END, limit_s=10)
            assert (status(late), error(late)["code"]) == (504, "deadline_exceeded")


async def test_nothing_is_asked_once_the_deadline_is_over() -> None:
    """A body that arrives after the deadline costs neither the target nor the key anything."""
    bounds = "requests_per_minute: 6, requests_burst: 3, tokens_per_minute: 6000"
    async with (
        ScriptedServer(GOOD) as upstream,
        one_data_plane(models(upstream.url) + keys(alice=bounds)) as data_plane,
    ):
        head, _, body = ask("alice", fields=b"x-request-timeout: 100ms\r\n").partition(b"\r\n\r\n")
        steps = (Send(head + b"\r\n\r\n"), Pause(0.3), Send(body), ReadUntil(END), Close())
        late = (await play_client(data_plane.port, *steps, limit_s=20)).received
        assert (status(late), error(late)["code"]) == (504, "deadline_exceeded")
        assert field(late, "x-edge-attempts") == "0"
        assert not upstream.peers
        answer = await data_plane.ask(ask("alice"), b"hello")
        assert field(answer, "x-ratelimit-remaining-requests") == "2"


@pytest.mark.usefixtures("both_wires")
async def test_what_is_left_of_a_deadline_goes_on_to_services() -> None:
    """A service gets the rest of the caller's deadline, in seconds."""
    config = "services: {{s: {{match: {{path: /s}}, targets: ['{}'], protocol: http1}}}}\n"
    async with ScriptedServer(GOOD) as service, one_data_plane(config.format(service.address)) as data_plane:
        assert status(await data_plane.ask(get("/s", b"x-request-timeout: 20s\r\n"), b"hello")) == 200
        sent = service.peers[0].messages[0]
        left = float(field(sent, "x-request-timeout") or 0)
        assert 10 < left <= 20
        assert sent.count(b"x-request-timeout") == 1
        assert status(await data_plane.ask(get("/s", b"x-request-timeout: 0\r\n"), END)) == 400
        assert status(await data_plane.ask(get("/s"), b"hello")) == 200
        assert b"x-request-timeout" not in service.peers[-1].messages[-1]


async def test_streams_without_usage_count_bytes() -> None:
    """Without usage, four bytes of text are a token, in the prompt and in what was streamed."""
    stop = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
    stream = (ReadMessage(), Send(sse(*[HELLO] * 5, stop, DONE)), Again())
    async with ScriptedServer(stream) as upstream, one_data_plane(models(upstream.url) + keys(alice="")) as data_plane:
        body = b'{"model":"chat","stream":true,"messages":[]}'
        await data_plane.ask(ask("alice", body), b"[DONE]")
        counts = data_plane.target("p0/m")["counts"]
        assert (counts[TargetCounter.T_PROMPT_TOKENS], counts[TargetCounter.T_OUTPUT_TOKENS]) == (
            len(body) // 4,
            7,
        )
