"""Requests of commands to the admin API of a running node, and errors with a remedy when they fail."""

from __future__ import annotations

import contextlib
import json
import os
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from edge.errors import EdgeError, NodeUnreachableError
from edge.version import VERSION

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

DEFAULT_ADMIN: Final = "http://127.0.0.1:9901"
_OK: Final = 200
_REDIRECT: Final = 300
_UNAUTHORIZED: Final = 401
_LONGEST: Final = 1000  # characters shown of an unexpected error
_NAME_IT: Final = "name its admin address with --admin or EDGE_ADMIN"
# C0 but for line ends and tabs, C1, and DEL.
_CONTROLS: Final = {code: "\ufffd" for code in (*range(0x20), *range(0x7F, 0xA0)) if code not in (0x09, 0x0A)}


def add_address(parser: argparse.ArgumentParser) -> None:
    """Add the arguments for the admin address and the token."""
    parser.add_argument(
        "--admin",
        default=os.environ.get("EDGE_ADMIN", DEFAULT_ADMIN),
        metavar="URL",
        help=f"admin address (EDGE_ADMIN, {DEFAULT_ADMIN})",
    )
    parser.add_argument(
        "--token", default=os.environ.get("EDGE_ADMIN_TOKEN", ""), help="bearer token (EDGE_ADMIN_TOKEN)"
    )


def _printable(value: Any) -> Any:
    """Replace control characters in all strings of a JSON value: clients and other nodes chose some of the texts."""
    if isinstance(value, str):
        return value if value.isprintable() else value.translate(_CONTROLS)
    if isinstance(value, list):
        return [_printable(item) for item in value]
    if isinstance(value, dict):
        return {_printable(name): _printable(item) for name, item in value.items()}
    return value


def ask(
    args: argparse.Namespace,
    path: str,
    *,
    shape: type = dict,
    method: str = "GET",
    body: Any = None,
    refusals: frozenset[int] = frozenset(),
) -> tuple[int, Any]:
    """Send a request to the node; return the status and the decoded JSON of the response.

    Args:
        args: parsed arguments, with those of :func:`add_address`.
        path: path of the admin API.
        shape: type of a successful response, ``dict`` or ``list``; an error is always a dict with ``error``.
        method: HTTP method.
        body: sent as JSON; None: no body.
        refusals: error statuses that the caller handles; any other raises.

    Raises:
        NodeUnreachableError: the node does not respond, rejects the token, or is not edge.
    """
    status, content = _send(args, path, method, body)
    answer = _read(content)
    done = _OK <= status < _REDIRECT
    if isinstance(answer, shape) if done else status in refusals and _is_refusal(answer):
        return status, answer
    raise NodeUnreachableError(f"{_base(args)}{path} answered {status}: {_remedy(args, status, answer)}")


def ask_text(args: argparse.Namespace, path: str, *, refusals: frozenset[int] = frozenset()) -> tuple[int, str]:
    """Send a GET whose response is a text; return the status, and the text or the sentence of a refusal.

    Raises:
        NodeUnreachableError: the node does not respond, rejects the token, or is not edge.
    """
    status, content = _send(args, path, "GET", None)
    if status == _OK:
        text = content.decode("utf-8", "replace")
        return status, "\n".join(_printable(line) for line in text.split("\n"))
    answer = _read(content)
    if status in refusals and _is_refusal(answer):
        return status, str(answer["error"])
    raise NodeUnreachableError(f"{_base(args)}{path} answered {status}: {_remedy(args, status, answer)}")


def _send(args: argparse.Namespace, path: str, method: str, body: Any) -> tuple[int, bytes]:
    from edge.cli.fetching import NotHttpError, fetch  # noqa: PLC0415

    url = f"{_base(args)}{path}"
    headers: dict[str, str | bytes] = {}
    if method != "GET":
        headers["X-Edge-Operator"] = quote(_operator(), safe="")
    if args.token:
        headers["Authorization"] = f"Bearer {_token(args)}".encode()
    data = None
    if body is not None:
        data = json.dumps(body).encode()
        headers["Content-Type"] = "application/json"
    try:
        status, content = fetch(method, url, headers, data)
    except NotHttpError as error:
        raise NodeUnreachableError(f"the server at {url} is not edge ({error}): {_NAME_IT}") from error
    except OSError as error:
        raise NodeUnreachableError(
            f"no response from {url} ({error}): start a node with `edge run`, or {_NAME_IT}"
        ) from error
    except ValueError as error:
        raise NodeUnreachableError(_no_address(args)) from error
    return status, content


@contextlib.contextmanager
def interpreting(args: argparse.Namespace) -> Iterator[None]:
    """Turn failures to interpret a response, such as a missing field, into an error of one sentence.

    Raises:
        NodeUnreachableError: the server is not edge, or an edge of another version.
    """
    try:
        yield
    except (EdgeError, ImportError, OSError):
        raise
    except Exception as error:
        raise NodeUnreachableError(
            f"{_base(args)} answers in a form that edge {VERSION} does not know ({type(error).__name__}: {error}): "
            f"is it edge, and this version? If not, {_NAME_IT}"
        ) from error


def _base(args: argparse.Namespace) -> str:
    """Return the admin address as a URL without a trailing slash.

    Raises:
        NodeUnreachableError: it is not a URL; the error does not quote a password in it.
    """
    base: str = args.admin if "://" in args.admin else f"http://{args.admin}"
    if not re.fullmatch(r"https?://[!-~]+", base) or "?" in base or "#" in base:
        raise NodeUnreachableError(_no_address(args))
    if "@" in base:
        raise NodeUnreachableError(
            f"--admin contains a user name, which edge does not support; write --admin {DEFAULT_ADMIN}"
        )
    return base.rstrip("/")


def _no_address(args: argparse.Namespace) -> str:
    shown = "the value of --admin" if "@" in args.admin else repr(args.admin)
    return f"{shown} is not an http address; write --admin {DEFAULT_ADMIN}"


def _operator() -> str:
    """Return who acts, for the history of the node: EDGE_OPERATOR, or the name of the user."""
    return (os.environ.get("EDGE_OPERATOR") or os.environ.get("USER") or os.environ.get("LOGNAME") or "")[:64]


def _token(args: argparse.Namespace) -> str:
    """Return the token.

    Raises:
        NodeUnreachableError: an HTTP header cannot carry it; the error does not quote it.
    """
    token: str = args.token
    if not re.fullmatch(r"[\t -~\x80-\ud7ff\ue000-\U0010ffff]*", token):  # excludes C0, DEL and surrogates
        raise NodeUnreachableError(
            "the token has characters that a header cannot carry, such as a line break; pass exactly admin.token of "
            "the node's configuration, with --token or EDGE_ADMIN_TOKEN"
        )
    return token


def _read(content: bytes) -> Any:
    """Return decoded JSON with control characters replaced; None: the content is not JSON."""
    try:
        return _printable(json.loads(content))
    except (ValueError, RecursionError):
        return None


def _is_refusal(answer: Any) -> bool:
    return isinstance(answer, dict) and isinstance(answer.get("error"), str)


def _remedy(args: argparse.Namespace, status: int, answer: Any) -> str:
    """Return the remedy for an unexpected response."""
    if status == _UNAUTHORIZED:
        remedy = "the token is wrong; pass" if args.token else "pass"
        return f"{remedy} admin.token of the node's configuration with --token or EDGE_ADMIN_TOKEN"
    if status < _REDIRECT:
        return f"that is not a response of edge; {_NAME_IT}"
    return str(answer["error"])[:_LONGEST] if _is_refusal(answer) else "is this edge?"
