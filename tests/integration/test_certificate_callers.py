"""A client certificate names a caller, over HTTP/1.1, HTTP/2 and gRPC, where a key lists its name."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import grpc
import httpx
import pytest
from issuer import NAME, Issuer
from one_data_plane import models, one_data_plane, whole
from test_regions_certified import Authority
from test_tokens_callers import ANSWER, GOOD, SOURCE, signing

from edge.admission.keys import new_key, sha256_of
from edge.native import Callers, SharedState
from edge.sim.wire import Again, ReadMessage, ScriptedServer, Send
from edge.wire.edge.v1 import inference_pb2, inference_pb2_grpc
from tests import snapshots

if TYPE_CHECKING:
    from pathlib import Path

WEB = "spiffe://shop.example/ns/web/sa/cart"
KEY = new_key()
KEYS = f"""keys:
  - {{name: web, certificates: ["{WEB}"], requests_per_minute: 60, requests_burst: 3}}
  - {{name: batch, certificates: [Batch.shop.internal], models: [p0/m]}}
  - {{name: keyed, sha256: {sha256_of(KEY)}}}
"""
LISTEN = "listen: [{address: '127.0.0.1:0', tls: {cert: b.pem, key: b.pem, client_ca: ca.pem}}]\n"
AUTH = f'auth: {{jwt: [{{issuer: "{NAME}", jwks: "{SOURCE}", audience: edge}}]}}\n'


def client(authority: Authority, name: str, *, http2: bool = False) -> httpx.AsyncClient:
    """Return a client with a certificate for a name or a URI."""
    context = ssl.create_default_context(cafile=str(authority.folder / "ca.pem"))
    context.load_cert_chain(authority.folder / authority.write(name))
    return httpx.AsyncClient(verify=context, http2=http2)


@pytest.mark.parametrize("http2", [False, True])
async def test_a_certificate_is_a_caller(tmp_path: Path, http2: bool) -> None:
    """Its URI or its DNS name leads to a key, with that key's models and limits; others need a key."""
    authority = Authority(tmp_path)
    async with ScriptedServer(GOOD) as server:
        text = models(server.url, extra=LISTEN + KEYS)
        async with one_data_plane(text, tmp_path) as plane:
            url = f"https://127.0.0.1:{plane.port}/v1/chat/completions"
            body = {"model": "chat", "messages": []}
            async with client(authority, WEB, http2=http2) as web:
                assert [(await web.post(url, json=body)).status_code for _ in range(4)] == [200, 200, 200, 429]
                keyed = {"authorization": f"Bearer {KEY}"}
                assert (await web.post(url, json=body, headers=keyed)).status_code == 200
            async with client(authority, "batch.shop.internal", http2=http2) as batch:
                refused = await batch.post(url, json=body)
                assert (refused.status_code, refused.json()["error"]["code"]) == (403, "model_not_allowed")
            for stranger in ("other.shop.internal", f"{WEB}x", "https://shop.example/ns/web/sa/cart"):
                async with client(authority, stranger, http2=http2) as other:
                    refused = await other.post(url, json=body)
                    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "missing_api_key")


async def test_grpc_with_a_certificate(tmp_path: Path) -> None:
    """A gRPC client is known by its certificate as well."""
    authority = Authority(tmp_path)
    hello = inference_pb2.ChatRequest(
        model="chat",
        messages=[inference_pb2.Message(role=inference_pb2.ROLE_USER, parts=[inference_pb2.Part(text="hi")])],
    )
    async with ScriptedServer((ReadMessage(), Send(whole(ANSWER)), Again())) as server:
        text = models(server.url, extra=LISTEN + KEYS)
        async with one_data_plane(text, tmp_path) as plane:
            codes = []
            for name in (WEB, "spiffe://shop.example/ns/web/sa/other"):
                pem = (tmp_path / authority.write(name)).read_bytes()
                credentials = grpc.ssl_channel_credentials((tmp_path / "ca.pem").read_bytes(), pem, pem)
                async with grpc.aio.secure_channel(f"127.0.0.1:{plane.port}", credentials) as channel:
                    call = inference_pb2_grpc.InferenceStub(channel).Chat(hello, timeout=20)
                    codes.append(await call.code())
            assert codes == [grpc.StatusCode.OK, grpc.StatusCode.UNAUTHENTICATED]


async def test_a_token_beside_a_certificate_is_for_the_service(tmp_path: Path) -> None:
    """The certificate counts, and the service gets the token, whosever it is; a bad one refuses nothing."""
    authority = Authority(tmp_path)
    issuer = Issuer()
    async with ScriptedServer(GOOD) as server:
        port = int(server.url.rpartition(":")[2])
        service = f"services: {{api: {{match: {{path: /api}}, targets: ['127.0.0.1:{port}']}}}}\n"
        text = models(server.url, extra=LISTEN + AUTH + KEYS + service)
        async with one_data_plane(text, tmp_path, signing(issuer)) as plane:
            tokens = [issuer.token(aud="service"), issuer.token(exp=1)]
            async with client(authority, WEB) as web:
                for token in tokens:
                    fields = {"authorization": f"Bearer {token}"}
                    answer = await web.post(f"https://127.0.0.1:{plane.port}/api", json={}, headers=fields)
                    assert answer.status_code == 200
        received = b"".join(peer.received for peer in server.peers)
        assert all(token.encode() in received for token in tokens)


def test_names_of_certificates() -> None:
    """URIs count byte by byte, DNS names in any case, other kinds and ambiguous certificates not at all."""
    keys = [
        snapshots.key("web", "", 0, certificates=(WEB,)),
        snapshots.key("batch", "", 1, certificates=("batch.shop.internal", "10.0.0.1")),
    ]
    callers = Callers(SharedState.create(1, 1, 1, allowance_capacity=2), keys, 1)

    def found(*names: tuple[str, str]) -> str | None:
        caller = callers.identify_certificate(names)
        return None if caller is None else caller.name

    assert found(("URI", WEB)) == "web"
    assert found(("DNS", "x.example"), ("DNS", "BATCH.shop.internal")) == "batch"
    assert found(("URI", WEB), ("DNS", "batch.shop.internal")) is None
    for stranger in (
        ("URI", WEB.upper()),
        ("DNS", WEB),
        ("URI", "batch.shop.internal"),
        ("IP Address", "10.0.0.1"),
        ("DNS", "*.shop.internal"),
        ("DNS", "web"),
    ):
        assert found(stranger) is None
    assert found() is None
