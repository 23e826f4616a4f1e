"""Names of models that bodies of Gemini's give beside their path."""

from __future__ import annotations

import json

import pytest

from native.codec.body_models import replaced_models


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"contents":[{"parts":[{"text":"a"}]}]}', b'{"contents":[{"parts":[{"text":"a"}]}]}'),
        (b' {"model": "models/e" ,"content":{"model":"kept"}}', b' {"model": "models/up" ,"content":{"model":"kept"}}'),
        (
            b'{"requests":[{"model":"models/e","content":1},{"content":{"model":"x"}},{"model":"models/f"}]}',
            b'{"requests":[{"model":"models/up","content":1},{"content":{"model":"x"}},{"model":"models/up"}]}',
        ),
        (b'{"generateContentRequest":{"model":"m"}}', b'{"generateContentRequest":{"model":"models/up"}}'),
        (b'{"generate_content_request":{"model":"m"}}', b'{"generate_content_request":{"model":"models/up"}}'),
        (b'{"mod\\u0065l":"models/e"}', b'{"mod\\u0065l":"models/up"}'),
        (b'{"model":"a","model":"b\\"c"}', b'{"model":"models/up","model":"models/up"}'),
        (b'{"model":7,"requests":{"model":"a"}}', b'{"model":7,"requests":{"model":"a"}}'),
        (b'["model"]', b'["model"]'),
        (b"", b""),
    ],
)
def test_each_name_of_a_model_is_replaced_and_nothing_else(body: bytes, expected: bytes) -> None:
    """At the three places where Gemini's methods take one; every other byte stays."""
    assert replaced_models(body, b"up") == expected


def test_a_name_is_escaped_as_json() -> None:
    """A name with a quotation mark, and many names at once."""
    body = json.dumps({"requests": [{"model": "models/e"}] * 300}).encode()
    read = json.loads(replaced_models(body, 'a"\\ü'.encode()))
    assert read == {"requests": [{"model": 'models/a"\\ü'}] * 300}
