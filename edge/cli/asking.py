"""How does a command ask a running node?  Over its admin address, and with a remedy when nothing answers."""

from __future__ import annotations

import contextlib
import json
import os
import re
from typing import TYPE_CHECKING, Any, Final

from edge.errors import EdgeError, NodeUnreachableError
from edge.version import VERSION

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

DEFAULT_ADMIN: Final = "http://127.0.0.1:9901"
_OK: Final = 200
_REDIRECT: Final = 300
_UNAUTHORIZED: Final = 401
_LONGEST: Final = 1000  # characters of a refusal that nobody foresaw
_NAME_IT: Final = "name its admin address with --admin or EDGE_ADMIN"
# C0 but for line ends and tabs, C1, and DEL.
_CONTROLS: Final = {code: "\ufffd" for code in (*range(0x20), *range(0x7F, 0xA0)) if code not in (0x09, 0x0A)}


def add_address(parser: argparse.ArgumentParser) -> None:
    """Declare where the node is and what it wants to be shown."""
    parser.add_argument(
        "--admin",
        default=os.environ.get("EDGE_ADMIN", DEFAULT_ADMIN),
        metavar="URL",
        help=f"admin address (EDGE_ADMIN, {DEFAULT_ADMIN})",
    )
    parser.add_argument(
        "--token", default=os.environ.get("EDGE_ADMIN_TOKEN", ""), help="bearer token (EDGE_ADMIN_TOKEN)"
    )


def _shown(said: Any) -> Any:
    """Return what was said as text that steers no terminal: callers and other nodes chose some of its words."""
    if isinstance(said, str):
        return said if said.isprintable() else said.translate(_CONTROLS)
    if isinstance(said, list):
        return [_shown(each) for each in said]
    if isinstance(said, dict):
        return {_shown(name): _shown(each) for name, each in said.items()}
    return said


def ask(
    asked: argparse.Namespace,
    path: str,
    *,
    shape: type = dict,
    method: str = "GET",
    body: Any = None,
    refusals: frozenset[int] = frozenset(),
) -> tuple[int, Any]:
    """Return status and JSON of the node's answer.

    Args:
        asked: parsed arguments with those of :func:`add_address`.
        path: on the admin address.
        shape: what an answer is as a whole, ``dict`` or ``list``; a refusal is always a dict with ``error``.
        method: of HTTP.
        body: sent as JSON; None: no body.
        refusals: statuses from 400 up that the caller understands; 2xx always are.

    Raises:
        NodeUnreachableError: it does not answer, refuses the token, or is something else than edge.
    """
    from edge.cli.fetching import NotHttpError, fetch  # noqa: PLC0415

    url = f"{_base(asked)}{path}"
    headers: dict[str, str | bytes] = {}
    if asked.token:
        headers["Authorization"] = f"Bearer {_token(asked)}".encode()
    data = None
    if body is not None:
        data = json.dumps(body).encode()
        headers["Content-Type"] = "application/json"
    try:
        status, said = fetch(method, url, headers, data)
    except NotHttpError as error:
        raise NodeUnreachableError(f"what answers at {url} is not edge ({error}): {_NAME_IT}") from error
    except OSError as error:
        raise NodeUnreachableError(
            f"nothing answers at {url} ({error}): start a node with `edge run`, or {_NAME_IT}"
        ) from error
    except ValueError as error:
        raise NodeUnreachableError(_no_address(asked)) from error
    answer = _read(said)
    done = _OK <= status < _REDIRECT
    if isinstance(answer, shape) if done else status in refusals and _is_refusal(answer):
        return status, answer
    raise NodeUnreachableError(f"{url} answered {status}: {_remedy(asked, status, answer)}")


@contextlib.contextmanager
def understood(asked: argparse.Namespace) -> Iterator[None]:
    """Show within this what a node said: where a part is missing or of another kind, that is one sentence.

    Raises:
        NodeUnreachableError: what answered is something else than edge, or of a version that says it otherwise.
    """
    try:
        yield
    except (EdgeError, ImportError, OSError):
        raise
    except Exception as error:
        raise NodeUnreachableError(
            f"{_base(asked)} answers in a form that edge {VERSION} does not know ({type(error).__name__}: {error}): "
            f"is it edge, and of this version? If not, {_NAME_IT}"
        ) from error


def _base(asked: argparse.Namespace) -> str:
    """Return the admin address as a URL without a slash at its end.

    Raises:
        NodeUnreachableError: it is none; a password in it is not repeated.
    """
    base: str = asked.admin if "://" in asked.admin else f"http://{asked.admin}"
    if not re.fullmatch(r"https?://[!-~]+", base) or "?" in base or "#" in base:
        raise NodeUnreachableError(_no_address(asked))
    if "@" in base:
        raise NodeUnreachableError(
            f"a user stands in --admin, which edge never asks for; write --admin {DEFAULT_ADMIN}"
        )
    return base.rstrip("/")


def _no_address(asked: argparse.Namespace) -> str:
    shown = "what stands in --admin" if "@" in asked.admin else repr(asked.admin)
    return f"{shown} is not an http address; write --admin {DEFAULT_ADMIN}"


def _token(asked: argparse.Namespace) -> str:
    """Return the token.

    Raises:
        NodeUnreachableError: no header can carry it; it is not repeated.
    """
    token: str = asked.token
    if not re.fullmatch(r"[\t -~\x80-\ud7ff\ue000-\U0010ffff]*", token):  # C0, DEL, and what is no Unicode
        raise NodeUnreachableError(
            "the token has characters that a header cannot carry, such as a line break; give admin.token of the node's "
            "configuration, and nothing else, with --token or EDGE_ADMIN_TOKEN"
        )
    return token


def _read(said: bytes) -> Any:
    """Return what JSON says, as text that steers no terminal; None: it is no JSON."""
    try:
        return _shown(json.loads(said))
    except (ValueError, RecursionError):
        return None


def _is_refusal(answer: Any) -> bool:
    return isinstance(answer, dict) and isinstance(answer.get("error"), str)


def _remedy(asked: argparse.Namespace, status: int, answer: Any) -> str:
    """Return what to do about an answer that the command did not expect."""
    if status == _UNAUTHORIZED:
        remedy = "this is not its token; give" if asked.token else "give"
        return f"{remedy} admin.token of its configuration with --token or EDGE_ADMIN_TOKEN"
    if status < _REDIRECT:
        return f"that is no answer of edge; {_NAME_IT}"
    return str(answer["error"])[:_LONGEST] if _is_refusal(answer) else "is this edge?"
