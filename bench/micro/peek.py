"""Measures the inspection of request and response bodies beside parsing: ``python -m bench.micro.peek [--json]``."""

from __future__ import annotations

import json
from functools import partial

from bench.micro.measure import Row, main, per_call
from native.codec import json_text, request_peek, response_peek

SAY = {"role": "user", "content": "Say hello to the people of Berlin, in three words."}
CHAT = {"model": "gpt-4.1-mini", "messages": [{"role": "system", "content": "You are kind."}, SAY], "max_tokens": 64}
CODE = {"role": "user", "content": 'def f(x):\n\treturn "x\\n"\n' * 200}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "iVBORw0KGgo+" * 400_000}}
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello!"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 21, "completion_tokens": 9, "total_tokens": 30},
}
REQUESTS = {
    "request: short chat": CHAT,
    "request: 40 turns": {**CHAT, "messages": [SAY] * 40},
    "request: code, many escapes": {**CHAT, "messages": [CODE]},
    "request: 5 MB image, model last": {"messages": [{"role": "user", "content": [IMAGE]}], "model": "gpt-4.1-mini"},
}


def rows() -> list[Row]:
    """Measure each body beside ``json.loads``."""
    measured = []
    for case, body in REQUESTS.items():
        data = json.dumps(body).encode()
        ns = per_call(partial(request_peek.read_request, data))
        measured.append(Row(case, ns, len(data), "json.loads", per_call(partial(json.loads, data))))
    data = json.dumps(ANSWER).encode()
    ns = per_call(partial(response_peek.read_response, data))
    measured.append(Row("answer: short chat", ns, len(data), "json.loads", per_call(partial(json.loads, data))))
    data = json.dumps(CHAT).encode()
    found = request_peek.read_request(data)
    put = partial(json_text.replace, data, found.model_start, found.model_end, "deepseek-chat")
    measured.append(Row("splice: short chat", per_call(put), len(data)))
    return measured


if __name__ == "__main__":
    main("peek", rows)
