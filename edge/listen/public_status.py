"""The public status as JSON, and as a page that may be embedded: no script, no request to anywhere.

Words are those of ``edge.terms.public_status``. Where control has not written for a while the status is ``unknown``:
what was true then need not be true now.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Any, Final

import msgspec

from edge.native import Reply

if TYPE_CHECKING:
    from edge.listen.reply import Fields
    from edge.terms.public_status import PublicStatus

STALE_S: Final = 60.0
_SAYS: Final = {
    "operational": "works",
    "degraded": "works by other means",
    "down": "does not answer",
    "unknown": "unknown",
}
_STYLE: Final = (
    ":root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;margin:1rem;max-width:40rem}"
    "h1{font-size:1.1rem}table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.3rem .6rem .3rem 0;"
    "border-bottom:1px solid #8884}.down{color:#c62828}.degraded{color:#8a6100}.operational{color:#1b7f3b}"
    "@media(prefers-color-scheme:dark){.down{color:#ff8a80}.degraded{color:#ffd166}.operational{color:#7ddf9a}}"
)
_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY: Final = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'"
_BOTH: Final[Fields] = [(b"cache-control", b"public, max-age=5"), (b"x-content-type-options", b"nosniff")]


def as_json(status: PublicStatus | None, now: float) -> Reply:
    """Return the status as JSON, which any page may fetch. ``now`` is Unix time."""
    fields: Fields = [(b"content-type", b"application/json"), (b"access-control-allow-origin", b"*"), *_BOTH]
    return Reply(200, fields, msgspec.json.encode(_view(status, now)))


def as_page(status: PublicStatus | None, now: float) -> Reply:
    """Return the status as a page that reads itself again every half minute."""
    view = _view(status, now)
    rows = "".join(
        f'<tr><td>{escape(each["name"])}</td><td class="{each["status"]}">{_SAYS[each["status"]]}</td>'
        f"<td>{escape(_since(each))}</td></tr>"
        for each in view["aliases"]
    )
    last = view["last"]
    past = ""
    if last is not None:
        names = ", ".join(last["aliases"])
        past = f"<p>Last outage: {escape(names)}, {escape(last['began'])} to {escape(last['ended'])}.</p>"
    body = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Status</title>'
        '<meta name="viewport" content="width=device-width"><meta http-equiv="refresh" content="30">'
        f"<style>{_STYLE}</style></head><body><h1>Status: {_SAYS[view['status']]}</h1>"
        f'<table><thead><tr><th scope="col">model</th><th scope="col">status</th><th scope="col">since (UTC)</th></tr>'
        f"</thead><tbody>{rows}</tbody></table>{past}<p>As of {escape(view['updated'] or 'never')}.</p></body></html>"
    )
    fields: Fields = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-security-policy", _POLICY.encode()),
        (b"referrer-policy", b"no-referrer"),
        *_BOTH,
    ]
    return Reply(200, fields, body.encode())


def _view(status: PublicStatus | None, now: float) -> dict[str, Any]:
    if status is None:
        return {"status": "unknown", "updated": None, "aliases": [], "last": None}
    stale = now - status.updated > STALE_S
    aliases = [
        {
            "name": each.name,
            "status": "unknown" if stale else each.status,
            "since": _iso(each.since),
            "expected": _iso(each.expected),
        }
        for each in status.aliases
    ]
    last = status.last
    order = ("down", "degraded", "unknown", "operational")
    return {
        "status": min((each["status"] or "" for each in aliases), key=order.index, default="operational"),
        "updated": _iso(status.updated),
        "aliases": aliases,
        "last": None
        if last is None
        else {
            "aliases": list(last.aliases),
            "began": _iso(last.began),
            "ended": _iso(last.ended),
        },
    }


def _since(alias: dict[str, Any]) -> str:
    until = f", tried again {alias['expected']}" if alias["expected"] and alias["status"] == "down" else ""
    return f"{alias['since'] or ''}{until}"


def _iso(at: float) -> str | None:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z") if at else None
