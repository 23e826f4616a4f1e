"""Few bytes must not cost much, as a list of reports: names, and errors that quote them."""

from __future__ import annotations

import json

import pytest
from callers import status
from one_data_plane import models, one_data_plane, post, whole

from edge.sim.wire import ReadMessage, ReadToEnd, ScriptedServer, Send

NAMED = '{{"model":"{}","messages":[]}}'


@pytest.mark.usefixtures("both_wires")
@pytest.mark.parametrize(
    ("name", "expected"),
    [("n" * 512, 404), ("n" * 513, 400), ("\\u006e" * 513, 400), ("é" * 256, 404), ("é" * 257, 400)],
)
async def test_a_name_of_megabytes_is_carried_about(name: str, expected: int) -> None:
    """A model's name has at most 512 bytes, however they are written; a longer one is not looked up."""
    async with one_data_plane(models("http://127.0.0.1:9")) as data_plane:
        answer = await data_plane.ask(post(NAMED.format(name).encode()), b"}}")
        assert status(answer) == expected
        assert (b"model_too_long" in answer) == (expected == 400)


@pytest.mark.usefixtures("both_wires")
@pytest.mark.parametrize("path", ["/x" * 8000, "/v1/models/" + "m" * 16000])
async def test_an_error_quotes_all_that_was_sent(path: str) -> None:
    """What a caller wrote stands in an error in part only."""
    async with one_data_plane(models("http://127.0.0.1:9")) as data_plane:
        answer = await data_plane.ask(f"GET {path} HTTP/1.1\r\nhost: edge\r\n\r\n".encode(), b"}}")
        assert status(answer) == 404
        assert len(answer) < 2000


LONG = "q" * 20_000
QUOTED: dict[str, bytes] = {
    "a method": b"M" * 60 + b" /v1/chat/completions HTTP/1.1\r\nhost: edge\r\ncontent-length: 0\r\n\r\n",
    "a query": f"GET /unknown?{LONG[:15000]} HTTP/1.1\r\nhost: edge\r\n\r\n".encode(),
    "a host": f"GET /v1/models HTTP/1.1\r\nhost: {'h' * 15000}\r\n\r\n".encode(),
    "an origin": f"GET /v1/models HTTP/1.1\r\nhost: edge\r\norigin: https://{LONG}\r\n\r\n".encode(),
    "a deadline": post(fields=f"x-request-timeout: {LONG}\r\n".encode()),
    "a priority": post(b'{"model":"none"}', fields=f"x-edge-priority: {LONG}\r\n".encode()),
    "a requirement": post(b'{"model":"none"}', fields=f"x-edge-require: {LONG}\r\n".encode()),
    "a coding": post(fields=f"content-encoding: {LONG}\r\n".encode()),
    "an expectation": post(fields=f"expect: {LONG}\r\n".encode()),
    "a trace": post(b'{"model":"none"}', fields=f"traceparent: {LONG}\r\nx-request-id: {LONG}\r\n".encode()),
    "a key": post(b'{"model":"none"}', fields=f"authorization: Bearer {LONG}\r\n".encode()),
    "a key of JSON": post(f'{{"{LONG}":1,"model":"none","model":2}}'.encode()),
    "a model in a path": post(b"{}", path=f"/v1beta/models/{LONG[:15000]}:generateContent"),
    "names of fields": post(f'{{"model":"none","{LONG}":"{LONG}"}}'.encode()),
}


@pytest.mark.usefixtures("both_wires")
@pytest.mark.parametrize("name", QUOTED)
async def test_what_a_caller_wrote_is_carried_about(name: str) -> None:
    """Neither the answer to a refused request nor its record grows with what the request holds."""
    async with one_data_plane(models("http://127.0.0.1:9") + "telemetry: {sample: 100%}\n") as data_plane:
        answer = await data_plane.ask(QUOTED[name], b"}}")
        assert 400 <= status(answer) < 500
        assert len(answer) < 2000
    assert all(len(repr(record)) < 2500 for record in data_plane.records)


@pytest.mark.usefixtures("both_wires")
async def test_what_a_provider_wrote_is_carried_about() -> None:
    """What an attempt's failure quotes of the upstream is bounded in the answer to the caller and in the record."""
    block = {"type": LONG, "text": "x"}
    content = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [block]}
    said = json.dumps({**content, "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 1}})
    script = (ReadMessage(), Send(whole(said.encode())), ReadToEnd())
    async with ScriptedServer(script) as upstream:
        text = models(upstream.url).replace("dialect: openai", "dialect: anthropic")
        async with one_data_plane(text + "telemetry: {sample: 100%}\n") as data_plane:
            body = b'{"model":"chat","messages":[{"role":"user","content":"Hi"}]}'
            answer = await data_plane.ask(post(body), b"}}")
            assert status(answer) == 503
            assert LONG[:100].encode() in answer
            assert len(answer) < 4000
            (record,) = await data_plane.recorded(1)
            assert len(repr(record)) < 4000
