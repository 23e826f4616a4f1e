"""How does a command ask a running node?  Over its admin address, and with a remedy when nothing answers."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import argparse

DEFAULT_ADMIN: Final = "http://127.0.0.1:9901"
LIMIT_S: Final = 5.0
_UNAUTHORIZED: Final = 401
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
    method: str = "GET",
    body: Any = None,
    refusals: frozenset[int] = frozenset(),
) -> tuple[int, Any]:
    """Return status and JSON of the node's answer.

    Args:
        asked: parsed arguments with those of :func:`add_address`.
        path: on the admin address.
        method: of HTTP.
        body: sent as JSON; None: no body.
        refusals: statuses from 400 up that the caller understands; 2xx always are.

    Raises:
        NodeUnreachableError: it does not answer, refuses the token, or is something else than edge.
    """
    import urllib.error  # noqa: PLC0415
    import urllib.request  # noqa: PLC0415

    from edge.errors import NodeUnreachableError  # noqa: PLC0415

    base = asked.admin if "://" in asked.admin else f"http://{asked.admin}"
    url = f"{base.rstrip('/')}{path}"
    if not url.startswith(("http://", "https://")):
        raise NodeUnreachableError(f"{asked.admin} is not an http address; write --admin {DEFAULT_ADMIN}")
    headers = {"Authorization": f"Bearer {asked.token}"} if asked.token else {}
    data = None
    if body is not None:
        data = json.dumps(body).encode()
        headers["Content-Type"] = "application/json"
    try:
        with urllib.request.urlopen(  # noqa: S310  # the scheme was checked above
            urllib.request.Request(url, data=data, headers=headers, method=method),  # noqa: S310
            timeout=LIMIT_S,
        ) as answer:
            return answer.status, _shown(json.load(answer))
    except urllib.error.HTTPError as error:
        with error:
            if error.code in refusals:
                return error.code, _shown(json.load(error))
            remedy = "is this edge?"
            if error.code == _UNAUTHORIZED:
                remedy = "this is not its token; give" if asked.token else "give"
                remedy += " admin.token of its configuration with --token or EDGE_ADMIN_TOKEN"
            raise NodeUnreachableError(f"{url} answered {error.code}: {remedy}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise NodeUnreachableError(
            f"nothing answers at {url} ({reason}): start a node with `edge run`, "
            "or name its admin address with --admin or EDGE_ADMIN"
        ) from error
