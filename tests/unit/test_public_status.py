"""What clients learn of outages is true, names aliases only, and grows stale by itself."""

from __future__ import annotations

import json
import re

from plans import SECRET, snapshot

from edge.incidents.incident import Incident
from edge.incidents.public import Now, public_status
from edge.listen.local import Local
from edge.listen.public_status import as_json, as_page
from edge.native import Operation
from edge.routing.table import model_document, models_document
from edge.terms.public_status import AliasStatus, PastOutage, PublicStatus

NOW = 1_778_232_728.0
PLAN = snapshot()


def now(usable: dict[str, bool], **until_s: float) -> Now:
    """Return the state of the targets, with an incident of the first."""
    waits = {"one/small": until_s.get("one"), "two/big": until_s.get("two")}
    return Now(usable, waits, [Incident("i", "provider:one", NOW - 10, NOW - 60, targets=["one/small"])], NOW)


def test_conditions_of_an_alias() -> None:
    """A preferred target that is out degrades an alias, and none left means down, with the earliest time to try."""
    well = public_status(PLAN, now({}), [])
    assert well.aliases == (AliasStatus("chat", "operational"),)
    assert public_status(PLAN, now({"two/big": False}), []).aliases == (AliasStatus("chat", "operational"),)
    degraded = public_status(PLAN, now({"one/small": False}, one=30.0), [])
    assert degraded.aliases == (AliasStatus("chat", "degraded", NOW - 60, NOW + 30),)
    down = public_status(PLAN, now({"one/small": False, "two/big": False}, one=30.0, two=5.0), [])
    assert down.aliases == (AliasStatus("chat", "down", NOW - 60, NOW + 5),)


def test_the_last_outage() -> None:
    """The newest outage that touched an alias is named; those of single targets and joined ones are not."""
    past = [
        Incident("a", "provider:one", 1.0, 1.0, routes=["chat"], recovered=5.0, closed=9.0),
        Incident("b", "provider:one", 11.0, 10.0, routes=["chat", "one/small"], recovered=15.0, closed=19.0),
        Incident("c", "provider:one", 21.0, 20.0, routes=["one/small"], recovered=25.0, closed=29.0),
        Incident("d", "provider:one", 31.0, 30.0, routes=["chat"], recovered=35.0, closed=39.0, joined_into="e"),
    ]
    assert public_status(PLAN, now({}), past).last == PastOutage(("chat",), 10.0, 15.0)


def test_json_and_page_say_the_same() -> None:
    """Both forms carry name, condition, times and the last outage; the page has no script and its own policy."""
    status = PublicStatus(
        NOW, (AliasStatus("<chat>", "down", NOW - 60, NOW + 30),), PastOutage(("<chat>",), NOW - 900, NOW - 600)
    )
    code, fields, body = as_json(status, NOW + 1)
    assert (code, dict(fields)[b"access-control-allow-origin"]) == (200, b"*")
    assert json.loads(body) == {
        "status": "down",
        "updated": "2026-05-08T09:32:08Z",
        "aliases": [
            {"name": "<chat>", "status": "down", "since": "2026-05-08T09:31:08Z", "expected": "2026-05-08T09:32:38Z"}
        ],
        "last": {"aliases": ["<chat>"], "began": "2026-05-08T09:17:08Z", "ended": "2026-05-08T09:22:08Z"},
    }
    _, fields, page = as_page(status, NOW + 1)
    text = page.decode()
    assert "&lt;chat&gt;" in text
    assert "<chat>" not in text
    assert "<script" not in text
    assert re.search(r"default-src 'none'; style-src 'sha256-[^']+'", dict(fields)[b"content-security-policy"].decode())


def test_what_is_old_is_unknown() -> None:
    """A status that control no longer renews claims nothing, and neither does one that was never written."""
    status = PublicStatus(NOW, (AliasStatus("chat", "operational"),))
    assert json.loads(as_json(status, NOW + 61)[2])["status"] == "unknown"
    assert json.loads(as_json(None, NOW)[2]) == {"status": "unknown", "updated": None, "aliases": [], "last": None}
    assert "unknown" in as_page(None, NOW)[2].decode()


def test_workers_read_it_at_most_once_a_second() -> None:
    """However many clients ask, the cell is read once a second, and the health check stays what it was."""
    reads: list[int] = []

    def read() -> PublicStatus | None:
        reads.append(1)
        return PublicStatus(NOW, (AliasStatus("chat", "operational"),))

    local = Local(models_document, model_document, read)
    for path in (b"/edge/status", b"/edge/status.html", b"/edge/status"):
        code, _, body = local.answer(Operation.OPERATION_HEALTH, b"GET", path, PLAN)
        assert code == 200
        assert SECRET.encode() not in body
    assert local.answer(Operation.OPERATION_HEALTH, b"GET", b"/healthz", PLAN)[2] == b'{"status":"ok"}'
    assert len(reads) == 1
