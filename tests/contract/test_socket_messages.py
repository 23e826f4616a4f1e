"""What edge reads of errors and answers for a WebSocket: nothing that a target says makes it fail."""

from __future__ import annotations

import json

from edge.listen.socket_messages import socket_error, socket_event, socket_items

DEEP = b"[" * 5000 + b"]" * 5000


def test_nested_deeply() -> None:
    """JSON that is nested too deeply to be read is an error that says nothing, and an answer that is not kept."""
    told = json.loads(socket_event(b'{"type":"error","error":{"message":"x","more":' + DEEP + b"}}"))
    assert (told["type"], told["status"]) == ("error", 500)
    told = json.loads(socket_error(502, [], b'{"error":' + DEEP + b"}"))
    assert (told["status"], told["error"]["message"]) == (502, "The request failed with the status 502.")
    assert socket_items(b'{"response":{"output":[{"type":"message","more":' + DEEP + b"}]}}") is None
