"""Messages that edge itself sends on a WebSocket of Responses: errors, and the answer to a turn that generates nothing.

Also what a conversation keeps of an answer. Source of the shapes: OpenAI's guide to the WebSocket mode of Responses,
and the types of its Python SDK (``ResponsesServerEvent``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from edge import clock

if TYPE_CHECKING:
    from edge.listen.reply import Fields

_WITHHELD: Final = frozenset({b"content-type", b"date", b"content-length", b"upgrade", b"cache-control"})
"""Fields of an answer that say nothing about an error."""

_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What is raised for JSON that is none, or is nested too deeply."""


class _Event(msgspec.Struct):
    response: _Response


class _Response(msgspec.Struct):
    output: list[msgspec.Raw] = []
    store: bool | None = None


class _Item(msgspec.Struct):
    type: str = "message"
    encrypted_content: str | None = None


def _error_of(content: bytes) -> tuple[dict[str, Any], int | None, int | None]:
    """Return the error in a body or an event of any shape: the error, its status and the number of the event."""
    try:
        said = msgspec.json.decode(content)
    except _UNREADABLE:
        said = {}
    said = said if isinstance(said, dict) else {}
    error = said.get("error")
    if not isinstance(error, dict):
        error = {name: said[name] for name in ("code", "message", "param") if name in said}
        if isinstance(said.get("error"), str):
            error["message"] = said["error"]
    number = said.get("sequence_number")
    status = error.get("status", said.get("status"))
    return (
        error,
        status if isinstance(status, int) and not isinstance(status, bool) else None,
        number if isinstance(number, int) and not isinstance(number, bool) else None,
    )


def _message(status: int, error: dict[str, Any], number: int | None, headers: dict[str, str]) -> bytes:
    code = error.get("code")
    told = {
        "type": error.get("type") if isinstance(error.get("type"), str) else "server_error",
        "code": None if code is None else str(code),
        "message": str(error.get("message") or f"The request failed with the status {status}."),
        "param": error.get("param"),
    }
    told |= {name: value for name, value in error.items() if name not in told and name != "status"}
    if headers:
        told["headers"] = headers
    message = {"type": "error", "status": status, "error": told}
    # The members of an error event of a stream are kept beside: clients that know only those find them.
    message |= {"code": told["code"], "message": told["message"], "param": told["param"]}
    if number is not None:
        message["sequence_number"] = number
    return msgspec.json.encode(message)


def socket_error(status: int, fields: Fields, content: bytes) -> bytes:
    """Return the message for an answer that is an error; ``content`` is its body in the shape of OpenAI's errors."""
    error, _, _ = _error_of(content)
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in fields if name not in _WITHHELD}
    return _message(status, error, None, headers)


def socket_event(data: bytes) -> bytes:
    """Return the message for the data of an event that is an error, of a target or of edge itself."""
    error, status, number = _error_of(data)
    return _message(status or 500, error, number, {})


def socket_items(event: bytes) -> bytes | None:
    """Return the output of a response as items for the input of the next; None: its provider keeps it.

    Args:
        event: the event that ended the response.

    Returns:
        JSON objects with commas between them. Ids are left out, because no provider knows them, and reasoning without
        its encrypted content: providers refuse it where they have not kept it.
    """
    try:
        response = msgspec.json.decode(event, type=_Event).response
        if response.store:
            return None
        return b",".join([_without_id(item) for item in response.output if _may_return(item)])
    except _UNREADABLE:
        return None


def _may_return(item: msgspec.Raw) -> bool:
    read = msgspec.json.decode(item, type=_Item)
    return read.type != "reasoning" or bool(read.encrypted_content)


def _without_id(item: msgspec.Raw) -> bytes:
    members = msgspec.json.decode(item, type=dict[str, msgspec.Raw])
    members.pop("id", None)
    return msgspec.json.encode(members)


def socket_warm_up(name: bytes, model: bytes, previous: bytes | None) -> list[bytes]:
    """Return the messages that answer a turn with ``generate: false``; ``model`` is JSON."""
    response: dict[str, Any] = {
        "id": name.decode(),
        "object": "response",
        "created_at": int(clock.wall()),
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "model": msgspec.Raw(model),
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": None if previous is None else previous.decode("utf-8", "replace"),
        "store": False,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "metadata": {},
        "usage": None,
    }
    done = response | {
        "status": "completed",
        "usage": {
            "input_tokens": 0,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 0,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 0,
        },
    }
    kinds = (("response.created", response), ("response.in_progress", response), ("response.completed", done))
    return [
        msgspec.json.encode({"type": kind, "sequence_number": number, "response": said})
        for number, (kind, said) in enumerate(kinds)
    ]
