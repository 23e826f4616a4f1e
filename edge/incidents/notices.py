"""Notices of incidents in the languages of their receivers: JSON with a signature, Slack, PagerDuty, Alertmanager.

Sources: PagerDuty Events API v2 (trigger and resolve with a dedup_key), Prometheus Alertmanager API v2 (POST alerts),
Slack incoming webhooks (text with &, < and > escaped).
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
from msgspec import Struct

from edge.telemetry import logs
from edge.version import VERSION

if TYPE_CHECKING:
    from edge.incidents.incident import Incident

Step = Literal["opened", "resolved", "test"]

CLASSES: Final = {
    "target_down": "target_down",
    "misconfigured": "target_down",
    "credential": "credential",
    "quota": "quota",
    "capability": "capability",
    "region": "region",
    "store": "store",
    "budget": "budget",
}
"""The word of ``alerts[].on`` for each kind of incident. A slow provider alone alerts nobody."""

# Alertmanager takes an alert for resolved at this time unless it is told again.
FIRING_S: Final = 1800.0
_CRITICAL: Final = frozenset({"target_down", "region"})


class Notice(Struct, frozen=True):
    """What is told. ``incident`` is the id under which receivers join opening and end."""

    step: Step
    incident: str
    alert: str  # a word of alerts[].on
    title: str
    since: float  # Unix time of the first symptom
    at: float
    where: str  # REGION/NODE that tells it
    playbook: str
    details: dict[str, Any]
    page: str = ""  # what the provider's status page says


def notice_of(incident: Incident, step: Step, where: str, at: float) -> Notice:
    """Return the notice of an incident's opening or end."""
    impact = incident.impact
    return Notice(
        step,
        incident.shared_id or incident.id,
        CLASSES.get(incident.kind, incident.kind),
        logs.without_secrets(incident.title),
        incident.first_symptom,
        at,
        where,
        incident.playbook,
        {
            "subject": incident.subject,
            "targets": incident.targets,
            "regions": incident.regions,
            "routes": incident.routes,
            "requests": impact.requests,
            "failed": impact.failed,
            "missing": [logs.without_secrets(each) for each in incident.missing],
            "joined_into": incident.joined_into,
        },
    )


def playbook_url(playbooks: str, name: str) -> str:
    """Return where a playbook stands; "" if ``playbooks``, the URL of all of them, is ""."""
    return f"{playbooks.rstrip('/')}/{name}.md" if playbooks else ""


def body(notice: Notice, form: str, secret: str, playbooks: str) -> bytes:
    """Return the body of the request.

    Args:
        notice: what is told.
        form: json, slack, pagerduty or alertmanager.
        secret: PagerDuty's routing key.
        playbooks: URL under which playbooks stand; "" for none.
    """
    link = playbook_url(playbooks, notice.playbook)
    write = {"slack": _slack, "alertmanager": _alertmanager}.get(form, _json)
    value = _pagerduty(notice, link, secret) if form == "pagerduty" else write(notice, link)
    return msgspec.json.encode(value)


def headers(content: bytes, form: str, secret: str, notice: Notice) -> dict[str, str]:
    """Return the header fields of the request; for JSON with a secret they carry a signature.

    ``x-edge-signature: t=UNIX,v1=HEX`` is HMAC-SHA256 over ``UNIX.BODY``, so that a receiver can refuse what is old.
    """
    found = {
        "Content-Type": "application/json",
        "User-Agent": f"edge/{VERSION}",
        "X-Edge-Delivery": f"{notice.incident}:{notice.step}",
    }
    if form == "json" and secret:
        moment = str(int(notice.at))
        signed = hmac.new(secret.encode(), moment.encode() + b"." + content, hashlib.sha256).hexdigest()
        found["X-Edge-Signature"] = f"t={moment},v1={signed}"
    return found


def _summary(notice: Notice) -> str:
    if notice.step == "test":
        return "edge: a test, nothing is wrong"
    over = "" if notice.step == "opened" else "over: "
    return f"edge: {over}{notice.title}"


def _json(notice: Notice, link: str) -> dict[str, Any]:
    return {
        "version": 1,
        "event": notice.step,
        "alert": notice.alert,
        "incident": notice.incident,
        "title": notice.title,
        "since": _iso(notice.since),
        "at": _iso(notice.at),
        "from": notice.where,
        "playbook": notice.playbook,
        "playbook_url": link,
        **notice.details,
    }


def _slack(notice: Notice, link: str) -> dict[str, Any]:
    lines = [f"*{_plain(_summary(notice))}*"]
    if notice.step != "test":
        lines.append(f"since {_iso(notice.since)}, incident `{_plain(notice.incident)}`")
        lines += [f"still missing: {_plain(each)}" for each in notice.details.get("missing", ())[:5]]
        lines.append(f"playbook: {f'<{_plain(link)}|{notice.playbook}>' if link else notice.playbook}")
    return {"text": "\n".join(lines)}


def _pagerduty(notice: Notice, link: str, secret: str) -> dict[str, Any]:
    event: dict[str, Any] = {
        "routing_key": str(secret),
        "event_action": "resolve" if notice.step == "resolved" else "trigger",
        "dedup_key": f"edge-{notice.incident}",
    }
    if notice.step == "resolved":
        return event
    severity = "info" if notice.step == "test" else "critical" if notice.alert in _CRITICAL else "error"
    event["payload"] = {
        "summary": _summary(notice)[:1024],
        "source": notice.where,
        "severity": severity,
        "timestamp": _iso(notice.at),
        "component": str(notice.details.get("subject", "")),
        "class": notice.alert,
        "custom_details": {"playbook": notice.playbook, **notice.details},
    }
    if link:
        event["links"] = [{"href": link, "text": f"playbook: {notice.playbook}"}]
    return event


def _alertmanager(notice: Notice, link: str) -> list[dict[str, Any]]:
    end = notice.at if notice.step != "opened" else notice.at + FIRING_S
    annotations = {"summary": _summary(notice), "playbook": notice.playbook}
    return [
        {
            "labels": {
                "alertname": "EdgeIncident" if notice.step != "test" else "EdgeTest",
                "incident": notice.incident,
                "kind": notice.alert,
                "subject": str(notice.details.get("subject", "")),
                "severity": "critical" if notice.alert in _CRITICAL else "warning",
            },
            "annotations": {**annotations, **({"runbook_url": link} if link else {})},
            "startsAt": _iso(notice.since),
            "endsAt": _iso(end),
        }
    ]


def _plain(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
