"""Callers with tokens are admitted, bounded and charged as callers with keys are, over HTTP and gRPC."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import grpc
import openai
import pytest
from issuer import NAME, Issuer, claims, part, rsa_key
from one_data_plane import models, one_data_plane, post, whole

from edge.admission.keys import new_key, sha256_of
from edge.admission.signing_keys import read_keys
from edge.sim.wire import Again, ReadMessage, ScriptedServer, Send
from edge.terms.snapshot import SigningKeys
from edge.wire.edge.v1 import inference_pb2, inference_pb2_grpc

if TYPE_CHECKING:
    from one_data_plane import OneDataPlane

SOURCE = "https://id.example/keys"
ANSWER = (
    b'{"id":"c1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":'
    b'"assistant","content":"hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1,'
    b'"total_tokens":4}}'
)
GOOD = (ReadMessage(), Send(whole(ANSWER)), Again())
KEY = new_key()
AUTH = f'auth: {{jwt: [{{issuer: "{NAME}", jwks: "{SOURCE}", audience: edge}}]}}\n'
KEYS = f"""keys:
  - {{name: team-a, sha256: {sha256_of(KEY)}, identities: [ann@id.example]}}
  - {{name: few, models: [chat], requests_per_minute: 60, requests_burst: 2}}
  - {{name: other, models: [p0/m]}}
  - {{name: staff, groups: [staff, ops]}}
"""


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    """Return an issuer."""
    return Issuer()


def signing(issuer: Issuer) -> dict[str, SigningKeys]:
    """Return the issuer's keys as control hands them over."""
    return {SOURCE: SigningKeys(read_keys(issuer.key_set()), time.time())}


def ask(token: str, field: str = "authorization: Bearer ") -> bytes:
    """Return a chat request with a token."""
    return post(fields=f"{field}{token}\r\n".encode())


async def status(plane: OneDataPlane, token: str, field: str = "authorization: Bearer ") -> tuple[int, bytes]:
    """Send a request with a token; return the status and the whole answer."""
    answer = await plane.ask(ask(token, field), b"}}")
    return int(answer.split(b" ", 2)[1]), answer


async def test_the_openai_sdk_works_with_a_token(issuer: Issuer) -> None:
    """A token is sent as a key is, and no provider gets it."""
    async with (
        ScriptedServer(GOOD) as server,
        one_data_plane(models(server.url, extra=AUTH + KEYS), signing=signing(issuer)) as plane,
    ):
        token = issuer.token()
        async with openai.AsyncOpenAI(base_url=plane.url + "/v1", api_key=token, max_retries=0) as client:
            for _ in range(3):
                answer = await client.chat.completions.create(model="chat", messages=[{"role": "user", "content": "x"}])
                assert answer.choices[0].message.content == "hello"
            assert [model.id async for model in client.models.list()] != []
        assert len(plane.tokens) == 1
        async with openai.AsyncOpenAI(base_url=plane.url + "/v1", api_key=token[:-9] + "A" * 9, max_retries=0) as bad:
            with pytest.raises(openai.AuthenticationError) as caught:
                await bad.models.list()
            assert caught.value.code == "invalid_token"
            assert "signature" in str(caught.value)
        assert token.encode() not in b"".join(peer.received for peer in server.peers)


async def test_grpc_clients_work_with_a_token(issuer: Issuer) -> None:
    """Call credentials of grpcio carry a token as metadata; a bad one is UNAUTHENTICATED."""
    hello = inference_pb2.ChatRequest(
        model="chat",
        messages=[inference_pb2.Message(role=inference_pb2.ROLE_USER, parts=[inference_pb2.Part(text="hi")])],
    )
    async with (
        ScriptedServer(GOOD) as server,
        one_data_plane(models(server.url, extra=AUTH + KEYS), signing=signing(issuer)) as plane,
    ):
        credentials = grpc.composite_channel_credentials(
            grpc.local_channel_credentials(grpc.LocalConnectionType.LOCAL_TCP),
            grpc.access_token_call_credentials(issuer.token()),
        )
        async with grpc.aio.secure_channel(f"127.0.0.1:{plane.port}", credentials) as channel:
            assert "hello" in str(await inference_pb2_grpc.InferenceStub(channel).Chat(hello, timeout=20))
        async with grpc.aio.insecure_channel(f"127.0.0.1:{plane.port}") as channel:
            late = (("authorization", f"Bearer {issuer.token(exp=1)}"),)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await inference_pb2_grpc.InferenceStub(channel).Chat(hello, timeout=20, metadata=late)
        assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
        assert "it has expired" in (caught.value.details() or "")


async def test_names_and_groups_lead_to_keys(issuer: Issuer) -> None:
    """A token acts as the key of its name or an identity, else of its first group that has one."""
    async with (
        ScriptedServer(GOOD) as server,
        one_data_plane(models(server.url, extra=AUTH + KEYS), signing=signing(issuer)) as plane,
    ):
        assert (await status(plane, issuer.token(sub="team-a")))[0] == 200
        assert (await status(plane, issuer.token(sub="ann@id.example")))[0] == 200
        assert (await status(plane, issuer.token(sub="bob", groups=["guests", "ops"])))[0] == 200
        code, answer = await status(plane, issuer.token(sub="other", groups=["staff"]))
        assert (code, b"model_not_allowed" in answer) == (403, True)
        for unknown in (issuer.token(sub="bob"), issuer.token(sub="bob", groups=["guests"])):
            for _ in range(2):
                code, answer = await status(plane, unknown)
                assert (code, b"unknown_identity" in answer) == (401, True)
        admitted = {
            key.name: plane.shared_state.read_allowance(key.allowance.slot)["counts"][0]
            for key in plane.snapshot.keys
            if key.allowance is not None
        }
        assert admitted == {"team-a": 2, "few": 0, "other": 0, "staff": 1}


async def test_limits_are_those_of_the_key(issuer: Issuer) -> None:
    """Two tokens of one caller share the limits of its key."""
    async with (
        ScriptedServer(GOOD) as server,
        one_data_plane(models(server.url, extra=AUTH + KEYS), signing=signing(issuer)) as plane,
    ):
        codes = [(await status(plane, issuer.token(sub="few", jti=str(index))))[0] for index in range(4)]
        assert codes == [200, 200, 429, 429]


@pytest.mark.parametrize("field", ["authorization: bearer ", "x-api-key: ", "api-key: ", "x-goog-api-key: "])
async def test_a_token_may_stand_where_a_key_may(issuer: Issuer, field: str) -> None:
    """SDKs send a token in the field of their dialect."""
    async with (
        ScriptedServer(GOOD) as server,
        one_data_plane(models(server.url, extra=AUTH + KEYS), signing=signing(issuer)) as plane,
    ):
        assert (await status(plane, issuer.token(), field))[0] == 200


async def test_a_key_wins_over_a_token(issuer: Issuer) -> None:
    """A request with a key of edge is admitted by it, whatever token it carries for somebody else."""
    async with (
        ScriptedServer(GOOD) as server,
        one_data_plane(models(server.url, extra=AUTH + KEYS), signing=signing(issuer)) as plane,
    ):
        foreign = f"authorization: Bearer {issuer.token(aud='another')}\r\nx-api-key: "
        assert (await status(plane, KEY, foreign))[0] == 200
        assert (await status(plane, issuer.token(aud="another")))[0] == 401
        other = issuer.token(sub="other")  # a verified token of a caller that may not use the model
        assert (await status(plane, other))[0] == 403
        for fields in ("authorization: Bearer {0}\r\nx-api-key: {1}", "x-api-key: {1}\r\nauthorization: Bearer {0}"):
            assert (await status(plane, fields.format(other, KEY), ""))[0] == 200


async def test_a_service_does_not_get_the_token(issuer: Issuer) -> None:
    """The token that admitted a request ends at edge, in each of the fields that hold it."""
    extra = "services: {api: {match: {path: /api}, targets: ['127.0.0.1:%d']}}\n"
    async with ScriptedServer(GOOD) as server:
        port = int(server.url.rpartition(":")[2])
        text = models(server.url, extra=AUTH + KEYS + extra % port)
        async with one_data_plane(text, signing=signing(issuer)) as plane:
            token = issuer.token()
            fields = f"authorization: Bearer {token}\r\nx-api-key: {token}\r\nx-mine: 1\r\n".encode()
            answer = await plane.ask(post(path="/api/x", fields=fields), b"}}")
            assert answer.startswith(b"HTTP/1.1 200")
        received = b"".join(peer.received for peer in server.peers)
        assert b"x-mine: 1" in received
        assert token.encode() not in received


async def test_a_token_beside_a_key_is_for_the_service(issuer: Issuer) -> None:
    """The service gets it, whether or not this worker has verified it for another request; the key it does not get."""
    extra = "services: {api: {match: {path: /api}, targets: ['127.0.0.1:%d']}}\n"
    async with ScriptedServer(GOOD) as server:
        port = int(server.url.rpartition(":")[2])
        text = models(server.url, extra=AUTH + KEYS + extra % port)
        async with one_data_plane(text, signing=signing(issuer)) as plane:
            token = issuer.token()
            fields = f"authorization: Bearer {token}\r\nx-api-key: {KEY}\r\n".encode()
            for count in (1, 2):
                answer = await plane.ask(post(path="/api/x", fields=fields), b"}}")
                assert answer.startswith(b"HTTP/1.1 200")
                received = b"".join(peer.received for peer in server.peers)
                assert received.count(token.encode()) == count
                assert KEY.encode() not in received
                assert (await status(plane, token))[0] == 200  # from now on it is verified


async def test_of_several_tokens_the_first_counts(issuer: Issuer) -> None:
    """What this worker has verified before decides nothing: a good token behind a bad one admits nobody."""
    async with (
        ScriptedServer(GOOD) as server,
        one_data_plane(models(server.url, extra=AUTH + KEYS), signing=signing(issuer)) as plane,
    ):
        good = issuer.token()
        bad = f"authorization: Bearer {issuer.token(aud='another')}\r\nx-api-key: "
        assert (await status(plane, good, bad))[0] == 401
        assert (await status(plane, good))[0] == 200
        assert (await status(plane, good, bad))[0] == 401


async def test_a_revoked_key_ends_its_tokens(issuer: Issuer) -> None:
    """A verified token is refused as soon as no key is for it, and admitted when there is one again."""
    async with (
        ScriptedServer(GOOD) as server,
        one_data_plane(models(server.url, extra=AUTH + KEYS), signing=signing(issuer)) as plane,
    ):
        token = issuer.token(sub="few")
        assert (await status(plane, token))[0] == 200
        without = "\n".join(line for line in KEYS.splitlines() if "few" not in line) + "\n"
        await plane.swap(models(server.url, extra=AUTH + without))
        code, answer = await status(plane, token)
        assert (code, b"unknown_identity" in answer) == (401, True)
        await plane.swap(models(server.url, extra=AUTH + KEYS))
        assert (await status(plane, token))[0] == 200
        assert len(plane.tokens) == 1


async def test_a_withdrawn_signing_key_ends_its_tokens() -> None:
    """A verified token is refused once its issuer has taken back the key that signed it."""
    issuer = Issuer()
    async with (
        ScriptedServer(GOOD) as server,
        one_data_plane(models(server.url, extra=AUTH + KEYS), signing=signing(issuer)) as plane,
    ):
        old = issuer.token()
        assert (await status(plane, old))[0] == 200
        issuer.keys["two"] = rsa_key()
        await plane.swap(models(server.url, extra=AUTH + KEYS), signing(issuer))
        assert (await status(plane, old))[0] == 200
        assert (await status(plane, issuer.token("two")))[0] == 200
        del issuer.keys["one"]
        await plane.swap(models(server.url, extra=AUTH + KEYS), signing(issuer))
        assert (await status(plane, old))[0] == 401
        assert (await status(plane, issuer.token("two")))[0] == 200


async def test_a_new_key_is_believed_at_once_when_it_is_known() -> None:
    """What was refused because its key was unknown is verified again after a Snapshot with the key."""
    issuer = Issuer()
    async with (
        ScriptedServer(GOOD) as server,
        one_data_plane(models(server.url, extra=AUTH + KEYS), signing=signing(issuer)) as plane,
    ):
        issuer.keys["two"] = rsa_key()
        token = issuer.token("two")
        code, answer = await status(plane, token)
        assert (code, b"x-should-retry: true" in answer) == (401, True)
        await plane.swap(models(server.url, extra=AUTH + KEYS), signing(issuer))
        assert (await status(plane, token))[0] == 200


async def test_a_token_ends_when_it_expires(issuer: Issuer) -> None:
    """A verified token is refused from exp on."""
    async with (
        ScriptedServer(GOOD) as server,
        one_data_plane(models(server.url, extra=AUTH + KEYS), signing=signing(issuer)) as plane,
    ):
        token = issuer.token(exp=int(time.time()) + 2)
        assert (await status(plane, token))[0] == 200
        assert (await status(plane, token))[0] == 200
        await asyncio.sleep(2.1)
        code, answer = await status(plane, token)
        assert (code, b"it has expired" in answer) == (401, True)


async def test_without_signing_keys_a_client_is_told_to_come_back(issuer: Issuer) -> None:
    """While no key of the issuer is known a token is neither believed nor called bad; keys of edge work as ever."""
    async with (
        ScriptedServer(GOOD) as server,
        one_data_plane(models(server.url, extra=AUTH + KEYS), signing={}) as plane,
    ):
        code, answer = await status(plane, issuer.token())
        assert (code, b"retry-after: 1" in answer) == (503, True)
        assert (await status(plane, KEY))[0] == 200
        await plane.swap(models(server.url, extra=AUTH + KEYS), signing(issuer))
        assert (await status(plane, issuer.token()))[0] == 200


async def test_an_oversized_token_is_refused_unread(issuer: Issuer) -> None:
    """A token of more than 8 KiB is refused, and one below is not."""
    async with (
        ScriptedServer(GOOD) as server,
        one_data_plane(models(server.url, extra=AUTH + KEYS), signing=signing(issuer)) as plane,
    ):
        large = issuer.token(pad="x" * 5000)
        assert 6000 < len(large) <= 8192
        assert (await status(plane, large))[0] == 200
        code, answer = await status(plane, issuer.token(pad="x" * 7000))
        assert (code, b"8 KiB" in answer) == (401, True)


async def test_a_flood_of_bad_tokens_disturbs_nobody_who_is_known(issuer: Issuer) -> None:
    """An address with too many bad tokens gets 429 for new ones; verified ones and keys are served as before."""
    async with (
        ScriptedServer(GOOD) as server,
        one_data_plane(models(server.url, extra=AUTH + KEYS), signing=signing(issuer)) as plane,
    ):
        token = issuer.token()
        assert (await status(plane, token))[0] == 200
        head = part({"alg": "RS256", "kid": "one"})
        codes = set()
        for index in range(400):
            bad = f"{head}.{part(claims(jti=index))}.{part(b'x' * 256)}"
            code, answer = await status(plane, bad)
            codes.add(code)
            if code == 429:
                break
        assert codes == {401, 429}
        assert b"too_many_refused_tokens" in answer
        assert (await status(plane, token))[0] == 200
        assert (await status(plane, KEY))[0] == 200


async def test_tokens_mean_nothing_without_issuers(issuer: Issuer) -> None:
    """With keys alone a token is an unknown key, and no verifier is asked."""
    async with (
        ScriptedServer(GOOD) as server,
        one_data_plane(models(server.url, extra=f"keys: [{{name: a, sha256: {sha256_of(KEY)}}}]\n")) as plane,
    ):
        code, answer = await status(plane, issuer.token())
        assert (code, b"invalid_api_key" in answer) == (401, True)
        assert len(plane.tokens) == 0
