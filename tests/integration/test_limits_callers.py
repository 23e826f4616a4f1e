"""A key is required, is found by its hash, and gives access to its own models and services only."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import pytest
from callers import ask, bearer, clear, field, get, keys, status
from grpc_health.v1 import health_pb2, health_pb2_grpc
from one_data_plane import OneDataPlane, models, one_data_plane, post, whole

from edge.native import WorkerCounter
from edge.sim.service import ServiceSpec, SimService
from edge.sim.wire import Again, ReadMessage, ScriptedServer, Send
from edge.wire.edge.v1 import inference_pb2, inference_pb2_grpc
from edge.wire.grpc.testing import test_pb2, test_pb2_grpc

if TYPE_CHECKING:
    from pathlib import Path

GOOD = (ReadMessage(), Send(whole()), Again())
END = b"}}"


def code(answer: bytes) -> str:
    """Return the code of an error body."""
    return str(json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"])


@pytest.mark.usefixtures("both_wires")
async def test_a_key_opens() -> None:
    """Without a key or with a wrong one 401; with the right key in any of its three places an answer."""
    async with ScriptedServer(GOOD) as upstream, one_data_plane(models(upstream.url) + keys(alice="")) as data_plane:
        refused = await data_plane.ask(post(), END)
        assert (status(refused), code(refused)) == (401, "missing_api_key")
        assert field(refused, "www-authenticate") == "Bearer"
        for fields in (b"authorization: Bearer wrong\r\n", b"x-api-key: wrong\r\n"):
            refused = await data_plane.ask(post(fields=fields), END)
            assert (status(refused), code(refused)) == (401, "invalid_api_key")
        key = clear("alice").encode()
        for name in (b"Authorization: bearer ", b"x-api-key: ", b"x-goog-api-key: "):
            answer = await data_plane.ask(post(fields=name + key + b"\r\n"), b"hello")
            assert status(answer) == 200
        basic = await data_plane.ask(post(fields=b"authorization: Basic " + key + b"\r\n"), END)
        assert code(basic) == "missing_api_key"
        assert data_plane.shared_state.read_worker(0)["counts"][WorkerCounter.W_REFUSED_KEYS] == 4
        assert all(key not in peer.received for peer in upstream.peers)


async def test_health_stays_open() -> None:
    """Health needs no key, and the list of models does."""
    async with one_data_plane(models("http://127.0.0.1:1") + keys(alice="")) as data_plane:
        assert status(await data_plane.ask(get("/healthz"), b"ok")) == 200
        assert status(await data_plane.ask(get("/v1/models"), END)) == 401
        assert status(await data_plane.ask(get("/nowhere"), END)) == 401


@pytest.mark.usefixtures("both_wires")
async def test_what_a_key_may_use() -> None:
    """A model outside a key's list is refused whether it exists or not, and is not listed."""
    config = models("http://127.0.0.1:1") + keys(
        all="", some="models: [p0/m]", wide="models: ['p0/*']", service="models: ['service:billing']"
    )
    config += "services: {billing: {match: {path: /bill}, targets: ['127.0.0.1:1'], protocol: http1}}\n"
    async with one_data_plane(config) as data_plane:
        for who, model, expected in (
            ("all", "nothing", 404),
            ("all", "chat", 503),
            ("some", "nothing", 403),
            ("some", "chat", 403),
            ("some", "p0/m", 503),
            ("some", "p0/other", 403),
            ("wide", "p0/other", 503),
            ("wide", "chat", 403),
            ("service", "chat", 403),
        ):
            answer = await data_plane.ask(ask(who, b'{"model":"%s"}' % model.encode()), b"}")
            assert status(answer) == expected, (who, model)
            if expected == 403:
                assert (
                    code(await data_plane.ask(ask(who, b'{"model":"%s"}' % model.encode()), END)) == "model_not_allowed"
                )
        for who, expected in (("all", ["chat", "p0/m"]), ("some", ["p0/m"]), ("service", [])):
            listed = await data_plane.ask(get("/v1/models", bearer(who)), b"]}")
            assert [entry["id"] for entry in json.loads(listed.partition(b"\r\n\r\n")[2])["data"]] == expected
        assert status(await data_plane.ask(get("/v1/models/chat", bearer("some")), END)) == 403
        assert status(await data_plane.ask(get("/v1/models/p0/m", bearer("some")), b"}")) == 200
        for who, expected in (("all", 503), ("service", 503), ("some", 403)):
            assert status(await data_plane.ask(get("/bill", bearer(who)), b"}")) == expected


async def test_a_service_never_sees_the_key() -> None:
    """The caller's key is not forwarded; the service's own credential is."""
    config = "services: {{s: {{match: {{path: /s}}, targets: ['{}'], protocol: http1}}}}\n"
    async with (
        ScriptedServer(GOOD) as upstream,
        one_data_plane(config.format(upstream.address) + keys(alice="")) as data_plane,
    ):
        key = f"x-api-key: {clear('alice')}\r\n".encode()
        assert status(await data_plane.ask(get("/s", key + b"authorization: Bearer the-service\r\n"), b"hello")) == 200
        assert status(await data_plane.ask(get("/s", bearer("alice")), b"hello")) == 200
        seen = b"".join(peer.received for peer in upstream.peers)
        assert clear("alice").encode() not in seen
        assert seen.count(b"authorization: Bearer the-service") == 1


async def test_an_open_listener(tmp_path: Path) -> None:
    """A listener with allow_anonymous requires no key; a known key still identifies its caller."""
    config = models("http://127.0.0.1:1") + keys(some="models: [p0/m]")
    config += 'listen: [{address: "127.0.0.1:0", allow_anonymous: true}]\n'
    async with one_data_plane(config, tmp_path) as data_plane:
        assert status(await data_plane.ask(post(), b"}")) == 503
        assert status(await data_plane.ask(post(fields=b"authorization: Bearer wrong\r\n"), b"}")) == 503
        assert status(await data_plane.ask(ask("some"), b"}")) == 403


async def call(data_plane: OneDataPlane, name: str | None) -> grpc.StatusCode:
    """Make one gRPC call of a service."""
    metadata = [] if name is None else [("authorization", f"Bearer {clear(name)}")]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{data_plane.port}") as channel:
        try:
            await test_pb2_grpc.TestServiceStub(channel).EmptyCall(test_pb2.Empty(), metadata=metadata, timeout=20)
        except grpc.aio.AioRpcError as error:
            return error.code()
    return grpc.StatusCode.OK


async def test_grpc() -> None:
    """The same rules hold over gRPC, with its codes: 16, 7, 8."""
    async with SimService(ServiceSpec("interop")) as service:
        config = f"services: {{i: {{match: {{grpc: grpc.testing.TestService}}, targets: ['{service.address}']}}}}\n"
        config += models("http://127.0.0.1:1") + keys(
            all="", wrong="models: [chat]", slow="requests_per_minute: 1, requests_burst: 1"
        )
        async with one_data_plane(config) as data_plane:
            assert await call(data_plane, None) == grpc.StatusCode.UNAUTHENTICATED
            assert await call(data_plane, "unheard-of") == grpc.StatusCode.UNAUTHENTICATED
            assert await call(data_plane, "wrong") == grpc.StatusCode.PERMISSION_DENIED
            assert await call(data_plane, "all") == grpc.StatusCode.OK
            assert await call(data_plane, "slow") == grpc.StatusCode.OK
            assert await call(data_plane, "slow") == grpc.StatusCode.RESOURCE_EXHAUSTED
            async with grpc.aio.insecure_channel(f"127.0.0.1:{data_plane.port}") as channel:
                health = health_pb2_grpc.HealthStub(channel)
                assert (await health.Check(health_pb2.HealthCheckRequest())).status == 1
                listing = inference_pb2_grpc.InferenceStub(channel).ListModels
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await listing(inference_pb2.ListModelsRequest())
                assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
                answer = await listing(
                    inference_pb2.ListModelsRequest(), metadata=[("authorization", f"Bearer {clear('wrong')}")]
                )
                assert [model.id for model in answer.models] == ["chat"]
