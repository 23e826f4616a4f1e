"""Another region's edge answers if, and only if, no target of this region can."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import time
from typing import TYPE_CHECKING

import grpc
import pytest
import trustme
from h2peer import Call, Upstream, lower
from one_data_plane import OneDataPlane, one_data_plane, post, whole
from soon import until

from edge.listen.server import bind
from edge.native import RouteCounter, WorkerCounter
from edge.sim.asked import Pace
from edge.sim.faults import Fault
from edge.sim.provider import ProviderSpec, SimProvider
from edge.sim.wire import Again, ReadMessage, ScriptedServer, Send
from edge.wire.edge.v1 import inference_pb2, inference_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

TOKEN = "a-token-of-all-regions"
KEY = b"ek-0123456789abcdef0123"
PACE = Pace(ttft_s=0.01, tps=500, tokens=3)
CHAT = b'{"model":"chat","messages":[{"role":"user","content":"hi"}]}'
DOWN = Fault(kind="refuse")


def config(
    region: str,
    ports: dict[str, int],
    url: str,
    *,
    token: str = TOKEN,
    provider: str = "",
    listen: str = "",
    peers: str = "",
) -> str:
    """Return one region: its own provider, every region's address (its own included), further fields of sections."""
    nodes = ", ".join(f'{{region: {name}, addresses: ["127.0.0.1:{port or 1}"]}}' for name, port in ports.items())
    return f"""
node: {{region: {region}, name: {region}-1}}
listen: [{{address: "127.0.0.1:{ports[region]}", hosts: [edge], {listen}}}]
providers: {{own: {{base_url: "{url}/v1", api_key: sk-of-{region}, {provider}}}}}
models:
  chat:
    targets: [own/sim-small]
    timeouts: {{connect: 2s, first_byte: 2s, first_token: 2s, stream_idle: 1s, total: 5s}}
peers: {{token: "{token}", nodes: [{nodes}], {peers}}}
"""


class World:
    """Regions with a provider each, by name."""

    def __init__(self, data_planes: dict[str, OneDataPlane], providers: dict[str, SimProvider]) -> None:
        self.data_planes = data_planes
        self.providers = providers

    def count(self, region: str, counter: int, route: str = "chat") -> int:
        """Return a counter of a route."""
        snapshot = self.data_planes[region].snapshot
        return int(
            self.data_planes[region].shared_state.read_route(snapshot.routes[snapshot.models[route]].slot)["counts"][
                counter
            ]
        )

    def worker(self, region: str, counter: int) -> int:
        """Return a counter of the worker."""
        return int(self.data_planes[region].shared_state.read_worker(0)["counts"][counter])


@contextlib.asynccontextmanager
async def regions(*names: str, bounds: str = "", more: str = "", **different: str) -> AsyncIterator[World]:
    """Run the regions; ``bounds`` are fields of their providers, ``more`` sections, ``different`` the token of some."""
    async with contextlib.AsyncExitStack() as stack:
        # bound, not listening: nobody else gets the port, and the data plane shares it
        held = {name: stack.enter_context(bind("127.0.0.1", 0)) for name in names}
        ports = {name: sock.getsockname()[1] for name, sock in held.items()}
        data_planes, providers = {}, {}
        for name in names:
            spec = ProviderSpec(name=f"provider-{name}", pace=PACE)
            providers[name] = await stack.enter_async_context(SimProvider(spec))
            text = config(name, ports, providers[name].url, token=different.get(name, TOKEN), provider=bounds)
            text += more
            data_planes[name] = await stack.enter_async_context(one_data_plane(text))
        yield World(data_planes, providers)


async def ask(data_plane: OneDataPlane, body: bytes = CHAT, fields: bytes = b"") -> tuple[int, dict[str, str], str]:
    """Return status, fields and body of an answer."""
    received = (await data_plane.raw(post(body, fields=fields + b"connection: close\r\n"), limit_s=15.0)).received
    head, _, content = received.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    pairs = [line.partition(": ") for line in lines[1:]]
    assert len({name for name, _, _ in pairs}) == len(pairs), lines
    return int(lines[0].split()[1]), {name.lower(): value for name, _, value in pairs}, content.decode()


async def test_own_targets_answer_while_they_can() -> None:
    """A region with a healthy target asks no other region, however near it is."""
    async with regions("a", "b") as world:
        for _ in range(20):
            status, fields, _ = await ask(world.data_planes["a"])
            assert (status, fields["x-edge-region"], fields["x-edge-target"]) == (200, "a", "own/sim-small")
        assert world.providers["b"].stats()["requests"] == 0


async def test_another_region_answers_when_no_target_is_left() -> None:
    """The body is forwarded unchanged, and the answer names its target; no field is doubled."""
    async with regions("a", "b") as world:
        await world.providers["a"].switch(DOWN)
        status, fields, body = await ask(world.data_planes["a"])
        assert status == 200, body
        assert json.loads(body)["choices"]
        assert (fields["x-edge-region"], fields["x-edge-target"]) == ("b", "own/sim-small")
        assert fields["x-edge-attempts"] == "2", "one of ours that failed, and the one over there"
        assert fields["x-edge-reason"].startswith("own/sim-small: fail_connect")
        assert (world.count("a", RouteCounter.R_PEER), world.count("b", RouteCounter.R_PEER)) == (1, 0)
        assert world.count("b", RouteCounter.R_REQUESTS) == 1


@pytest.mark.parametrize(
    ("path", "content_type", "body", "said"),
    [
        ("/v1/audio/speech", b"application/json", b'{"model":"chat","input":"hi","voice":"v"}', b"audio/mpeg"),
        (
            "/v1/audio/transcriptions",
            b"multipart/form-data; boundary=b",
            (
                b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nRIFF\r\n'
                b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nchat\r\n--b--\r\n'
            ),
            b"4 bytes of f",
        ),
    ],
)
async def test_sound_comes_from_another_region_too(path: str, content_type: bytes, body: bytes, said: bytes) -> None:
    """JSON and forms are forwarded under their own path, and the other region reads the model from them again."""
    async with regions("a", "b") as world:
        await world.providers["a"].switch(DOWN)
        request = post(body, path, b"connection: close\r\n").replace(b"application/json", content_type)
        received = (await world.data_planes["a"].raw(request, limit_s=15.0)).received
        assert received.startswith(b"HTTP/1.1 200 ")
        assert said in received
        assert world.providers["b"].stats()["by_path"] == {path: 1}
        assert world.count("a", RouteCounter.R_PEER) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_a_key_pays_once_wherever_the_answer_comes_from(stream: bool) -> None:
    """The budget is charged where the key was admitted; the cost is counted where it was paid."""
    keys = f"keys: [{{name: team, sha256: {hashlib.sha256(KEY).hexdigest()}, budget: 50}}]\n"
    body = CHAT.replace(b"{", b'{"stream":true,', 1) if stream else CHAT
    async with regions("a", "b", bounds="prices: {sim-small: {input: 2, output: 10}}", more=keys) as world:
        await world.providers["a"].switch(DOWN)
        status, fields, answer = await ask(world.data_planes["a"], body, b"authorization: Bearer " + KEY + b"\r\n")
        assert (status, fields["x-edge-region"]) == (200, "b"), answer
        spent, tokens = {}, {}
        for region, data_plane in world.data_planes.items():
            view = data_plane.shared_state.read_allowance(data_plane.snapshot.keys[0].allowance.slot)
            spent[region] = view["spent_nano"]
            counts = data_plane.shared_state.read_route(
                data_plane.snapshot.routes[data_plane.snapshot.models["chat"]].slot
            )["counts"]
            tokens[region] = counts[RouteCounter.R_PROMPT_TOKENS], counts[RouteCounter.R_OUTPUT_TOKENS]
        prompt, output = tokens["a"]
        assert prompt
        assert output
        assert spent == {"a": prompt * 2_000 + output * 10_000, "b": 0}
        assert world.count("a", RouteCounter.R_COST_NANO) == 0
        assert world.count("b", RouteCounter.R_COST_NANO) == tokens["b"][0] * 2_000 + tokens["b"][1] * 10_000


async def test_streams_come_through_a_peer() -> None:
    """A stream is relayed event by event to its end."""
    async with regions("a", "b") as world:
        await world.providers["a"].switch(DOWN)
        status, fields, body = await ask(world.data_planes["a"], CHAT.replace(b"{", b'{"stream":true,', 1))
        assert (status, fields["x-edge-region"]) == (200, "b")
        assert "data: [DONE]" in body


async def test_grpc_callers_are_answered_through_a_peer() -> None:
    """A call of edge's gRPC API is forwarded as JSON and answered in gRPC, complete or streamed."""
    message = inference_pb2.Message(role=inference_pb2.ROLE_USER, parts=[inference_pb2.Part(text="hi")])
    asked = inference_pb2.ChatRequest(model="chat", messages=[message])
    async with regions("a", "b") as world:
        await world.providers["a"].switch(DOWN)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{world.data_planes['a'].port}") as channel:
            stub = inference_pb2_grpc.InferenceStub(channel)
            call = stub.Chat(asked, timeout=20)
            assert (await call).choices[0].message.parts[0].text
            assert dict(await call.initial_metadata())["x-edge-region"] == "b"
            assert len([piece async for piece in stub.ChatStream(asked, timeout=20)]) > 1
        assert world.count("a", RouteCounter.R_PEER) == 2


async def test_direct_names_are_forwarded_too() -> None:
    """``provider/model`` is forwarded too, configured by name or as a wildcard."""
    async with regions("a", "b") as world:
        await world.providers["a"].switch(DOWN)
        for name in (b"own/sim-small", b"own/sim-large"):
            status, fields, _ = await ask(world.data_planes["a"], CHAT.replace(b"chat", name))
            assert (status, fields["x-edge-region"]) == (200, "b"), name


async def test_own_targets_come_back() -> None:
    """Another region answers only as long as no target of this region can."""
    async with regions("a", "b") as world:
        await world.providers["a"].switch(Fault(kind="error"))
        for _ in range(12):
            assert (await ask(world.data_planes["a"]))[1]["x-edge-region"] == "b"
        assert world.data_planes["a"].target("own/sim-small")["state"] == "open"
        await world.providers["a"].switch()
        for _ in range(400):
            if (await ask(world.data_planes["a"]))[1]["x-edge-region"] == "a":
                break
        else:
            pytest.fail("the region's own target was never tried again")


async def test_nobody_can_answer() -> None:
    """If no region can answer, the request fails within two hops, and the other region stays healthy."""
    async with regions("a", "b", "c") as world:
        for provider in world.providers.values():
            await provider.switch(Fault(kind="error"))
        for _ in range(10):
            status, fields, body = await ask(world.data_planes["a"])
            assert (status, json.loads(body)["error"]["code"]) == (503, "no_usable_target")
            assert int(fields["retry-after"]) >= 1
        for target in world.data_planes["a"].snapshot.targets:
            if target.kind == "region":
                seen = world.data_planes["a"].target(target.id)
                assert (seen["state"], seen["consecutive"]) == ("closed", 0)
        asked = sum(world.count(name, RouteCounter.R_REQUESTS) for name in "bc")
        assert 1 <= asked <= 4, "a region that has said no is left alone for a while"
        assert sum(world.worker(name, WorkerCounter.W_HOPS_REFUSED) for name in "abc") == 0


async def test_a_third_region_answers() -> None:
    """A region without targets asks another, never back; the answer names its target."""
    async with regions("a", "b", "c") as world:
        await world.providers["a"].switch(DOWN)
        await world.providers["b"].switch(DOWN)
        for _ in range(6):
            status, fields, _ = await ask(world.data_planes["a"])
            assert (status, fields["x-edge-region"]) == (200, "c")


@pytest.mark.parametrize(
    ("hops", "status"), [("b", 200), ("b,c", 200), ("a", 503), ("b,a", 503), ("b,c,d", 503)], ids=str
)
async def test_loops_and_depth_are_refused(hops: str, status: int) -> None:
    """A peer's request that has been here, or in two regions already, is refused and counted; others are served."""
    async with regions("a", "b") as world:
        said = f"x-edge-peer-token: {TOKEN}\r\nx-edge-hops: {hops}\r\n".encode()
        got, _, body = await ask(world.data_planes["a"], fields=said)
        assert got == status
        assert ("peer_loop" in body) == (status == 503)
        assert world.worker("a", WorkerCounter.W_HOPS_REFUSED) == (status == 503)


@pytest.mark.parametrize("token", ["", "x-edge-peer-token: a-token-of-nobody-else\r\n"], ids=["none", "wrong"])
async def test_a_client_is_not_believed(token: str) -> None:
    """Without the token a client's hops are ignored, and do not change its routing."""
    async with regions("a", "b") as world:
        said = f"{token}x-edge-hops: a\r\n".encode()
        assert (await ask(world.data_planes["a"], fields=said))[0] == 200
        await world.providers["a"].switch(DOWN)
        assert (await ask(world.data_planes["a"], fields=said))[0] == 503
        assert (await ask(world.data_planes["a"]))[0] == 200
        assert world.worker("a", WorkerCounter.W_HOPS_REFUSED) == 0


async def test_regions_with_different_tokens_do_not_go_round() -> None:
    """Two regions that do not trust each other forward a request at most once each."""
    async with regions("a", "b", b="another-token-of-b") as world:
        for provider in world.providers.values():
            await provider.switch(DOWN)
        assert (await ask(world.data_planes["a"]))[0] == 503
        assert world.count("b", RouteCounter.R_REQUESTS) <= 1
        assert world.count("a", RouteCounter.R_REQUESTS) == 1


async def test_what_a_peer_is_told() -> None:
    """The other edge gets path and body unchanged, the token, the hops and the rest of the time.

    Neither the caller's credential nor anything that it said in another edge's name goes along.
    """
    heard: list[tuple[dict[str, str], bytes]] = []

    async def answer(call: Call) -> None:
        heard.append((lower(call.fields), await call.body()))
        content = b'{"choices":[{"message":{"content":"hello"}}]}'
        said = [("content-type", "application/json"), ("content-length", str(len(content)))]
        said += [("x-edge-region", "b"), ("x-edge-target", "far/m"), ("x-edge-attempts", "3")]
        said += [("x-edge-request-id", "z")]
        await call.head(200, *said)
        await call.data(content, end=True)

    async with Upstream(answer) as upstream:
        async with one_data_plane(config("a", {"a": 0, "b": upstream.port}, "http://127.0.0.1:9")) as data_plane:
            body = b'{"messages": [], "model" : "chat"}'
            said = b"authorization: Bearer sk-client\r\nx-edge-key-name: forged\r\nx-edge-priority: high\r\n"
            status, fields, _ = await ask(data_plane, body, said)
    assert (status, fields["x-edge-region"], fields["x-edge-target"]) == (200, "b", "far/m")
    assert fields["x-edge-attempts"] == "4"
    assert fields["x-edge-request-id"] != "z"
    ((sent, content),) = heard
    assert content == body
    assert (sent[":method"], sent[":path"]) == ("POST", "/v1/chat/completions")
    assert (sent["x-edge-peer-token"], sent["x-edge-hops"]) == (TOKEN, "a")
    assert 0 < float(sent["x-request-timeout"]) < 5
    assert not {"authorization", "x-edge-key-name", "x-edge-priority"} & sent.keys()


async def test_a_provider_is_told_nothing_of_it() -> None:
    """A provider gets none of the fields between edges, and not the token."""
    async with ScriptedServer((ReadMessage(), Send(whole()), Again())) as provider:
        async with one_data_plane(config("b", {"b": 0, "a": 9}, provider.url)) as data_plane:
            said = f"x-edge-peer-token: {TOKEN}\r\nx-edge-hops: a\r\nx-edge-key-name: k\r\nx-edge-priority: low\r\n"
            assert (await ask(data_plane, fields=said.encode()))[0] == 200
        received = provider.peers[0].received
        assert b"authorization: Bearer sk-of-b" in received
        assert b"x-edge" not in received
        assert TOKEN.encode() not in received


async def test_the_time_that_is_left_goes_along() -> None:
    """A caller's deadline also applies in another region."""
    async with regions("a", "b") as world:
        await world.providers["a"].switch(DOWN)
        await world.providers["b"].switch(Fault(kind="blackhole"))
        began = time.monotonic()
        status, _, _ = await ask(world.data_planes["a"], fields=b"x-request-timeout: 600ms\r\n")
        assert status == 504
        assert 0.5 < time.monotonic() - began < 5
        await until(lambda: world.providers["b"].stats()["concurrent"] == 0)


async def test_a_peers_request_does_not_wait_in_line() -> None:
    """A full region refuses a peer's request at once, and keeps its queue for its own callers."""
    async with regions("b", bounds="max_inflight: 1") as world:
        data_plane, provider = world.data_planes["b"], world.providers["b"]
        await provider.switch(Fault(kind="latency", delay_s=1.0))
        first = asyncio.create_task(ask(data_plane))
        await until(lambda: data_plane.target("own/sim-small")["inflight"] == 1)
        waiting = asyncio.create_task(ask(data_plane))
        said = f"x-edge-peer-token: {TOKEN}\r\nx-edge-hops: a\r\n".encode()
        status, fields, _ = await ask(data_plane, fields=said)
        assert (status, int(fields["retry-after"]) >= 1) == (503, True)
        assert not waiting.done()
        assert [(await first)[0], (await waiting)[0]] == [200, 200]


async def test_a_full_region_asks_another() -> None:
    """If every target of this region is full, another region answers."""
    async with regions("a", "b", bounds="max_inflight: 1") as world:
        await world.providers["a"].switch(Fault(kind="latency", delay_s=1.0))
        first = asyncio.create_task(ask(world.data_planes["a"]))
        await until(lambda: world.data_planes["a"].target("own/sim-small")["inflight"] == 1)
        assert (await ask(world.data_planes["a"]))[1]["x-edge-region"] == "b"
        assert (await first)[1]["x-edge-region"] == "a"


@pytest.mark.parametrize(("cert", "answered"), [("ours", True), ("theirs", False)])
async def test_regions_over_mutual_tls(tmp_path: Path, cert: str, answered: bool) -> None:
    """Over HTTP/2 with mutual TLS an edge with a certificate of the right CA is served, and another is not."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    for name, signer in (("ours", authority), ("theirs", trustme.CA())):
        issued = signer.issue_cert("127.0.0.1")
        issued.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / f"{name}.pem"))
    served = "{cert: ours.pem, key: ours.pem, client_ca: ca.pem}"
    called = f"{{ca: ca.pem, cert: {cert}.pem, key: {cert}.pem}}"
    async with SimProvider(ProviderSpec(pace=PACE)) as provider:
        with bind("127.0.0.1", 0) as held:
            ports = {"a": 0, "b": held.getsockname()[1]}
            async with (
                one_data_plane(config("b", ports, provider.url, listen=f"tls: {served}"), tmp_path) as far,
                one_data_plane(config("a", ports, "http://127.0.0.1:9", peers=f"tls: {called}"), tmp_path) as near,
            ):
                status, fields, body = await ask(near)
                assert (status, fields["x-edge-region"]) == ((200, "b") if answered else (503, "a")), body
                assert far.shared_state.read_worker(0)["counts"][WorkerCounter.W_REQUESTS] == answered


async def test_what_is_required_holds_over_regions() -> None:
    """A request with requirements is not sent to another region, not even of the same law; one without them is."""
    required = b"x-edge-require: jurisdiction=eu\r\n"
    async with regions("a", "b", bounds="jurisdiction: eu", more="telemetry: {sample: 100%}\n") as world:
        assert (await ask(world.data_planes["a"], fields=required))[0] == 200
        await world.providers["a"].switch(DOWN)
        for _ in range(8):
            status, _, body = await ask(world.data_planes["a"], fields=required)
            assert status in {502, 503}, body
        assert world.providers["b"].stats()["requests"] == 0
        assert world.worker("b", WorkerCounter.W_REQUESTS) == 0, "not a byte has reached the other region"
        for record in (await world.data_planes["a"].recorded(9))[1:]:
            assert [why.partition(": ")[2] for why in record.excluded] == [
                "the targets of another region are not known here"
            ]
        assert (await ask(world.data_planes["a"]))[1]["x-edge-region"] == "b", "without requirements it answers"


async def test_what_is_required_and_nobody_here_meets_goes_nowhere() -> None:
    """A region without a target of the law refuses, although another one has such a target."""
    async with regions("a", "b", bounds="jurisdiction: us") as world:
        status, _, body = await ask(world.data_planes["a"], fields=b"x-edge-require: jurisdiction=eu\r\n")
        assert (status, json.loads(body)["error"]["code"]) == (400, "requirement_unmet")
        assert "own/sim-small: its jurisdiction is us" in body
        assert "the targets of another region are not known here" in body
        assert [world.worker("b", WorkerCounter.W_REQUESTS), world.providers["b"].stats()["requests"]] == [0, 0]


async def test_a_requirement_is_no_less_for_a_peer() -> None:
    """A region that is asked by another one obeys the requirement of the request that it gets."""
    async with regions("a", "b", bounds="jurisdiction: us") as world:
        fields = b"x-edge-require: jurisdiction=eu\r\nx-edge-hops: a\r\nx-edge-peer-token: " + TOKEN.encode() + b"\r\n"
        status, _, body = await ask(world.data_planes["b"], fields=fields)
        assert (status, json.loads(body)["error"]["code"]) == (400, "requirement_unmet")
        assert world.providers["b"].stats()["requests"] == 0
