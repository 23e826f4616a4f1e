"""An incident as Markdown that one could publish: what happened, when, whom it touched, what is still missing.

Texts come from providers, other nodes and operators, so every one of them is made harmless: one line, no markup.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from edge.telemetry import logs

if TYPE_CHECKING:
    from edge.incidents.incident import Impact, Incident

_WORDS: Final = {
    "symptom": "First symptom",
    "detected": "Detected",
    "spread": "Spread",
    "takeover": "Taken over",
    "shed": "Shed",
    "page": "Provider's page",
    "operator": "Operator",
    "note": "Note",
    "recovered": "Recovered",
    "closed": "Closed",
}
_LEAST_USD: Final = 0.00005  # less is shown as nothing
_MARKUP: Final = re.compile(r"([\\`*_\[\]<>#|~])")
_BLANKS: Final = re.compile(r"\s+")


def markdown(incident: Incident, now: float) -> str:
    """Return the post-mortem. ``now`` is Unix time, for an incident that is still open."""
    lines = [f"# {plain(incident.title)}", "", *_facts(incident, now), "", "## What callers saw", ""]
    lines += _seen(incident.impact)
    lines += ["", "## Timeline (UTC)", "", "| time | what | |", "| --- | --- | --- |"]
    lines += [
        f"| {spelled(event.at)} | {_WORDS.get(event.what, event.what)} | {plain(event.text)} |"
        for event in incident.events
    ]
    if incident.left_out:
        lines += ["", f"{incident.left_out} further events were left out."]
    lines += ["", "## What is still missing", ""]
    lines += [f"- {plain(each)}" for each in incident.missing] or [
        "Nothing: every target was in rotation when the incident was closed."
        if incident.closed
        else "No sign of trouble is left; the incident is closed when that has lasted."
    ]
    return "\n".join(lines) + "\n"


def plain(text: str) -> str:
    """Return a text that others chose as one line without markup or secrets."""
    return _MARKUP.sub(r"\\\1", _BLANKS.sub(" ", logs.without_secrets(text)).strip())


def spelled(at: float) -> str:
    """Return Unix time as a date and a time in UTC."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}"


def span(seconds: float) -> str:
    """Return a span of time in words."""
    whole = max(round(seconds), 0)
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _facts(incident: Incident, now: float) -> list[str]:
    end = incident.recovered or incident.closed
    lag = incident.opened - incident.first_symptom
    lines = [
        f"- Incident: `{incident.id}`",
        f"- First symptom: {spelled(incident.first_symptom)}",
        f"- Detected: {spelled(incident.opened)}, {span(lag)} after the first symptom",
    ]
    if end:
        lasted = span(end - incident.first_symptom)
        lines.append(f"- Recovered: {spelled(end)}; it lasted {lasted}")
    else:
        lines.append(f"- Not recovered after {span(now - incident.first_symptom)}")
    lines += [f"- Targets: {', '.join(map(plain, incident.targets))}"] if incident.targets else []
    if incident.capabilities:
        lines.append(f"- Capabilities that failed alone: {', '.join(map(plain, incident.capabilities))}")
    lines += [f"- Regions: {', '.join(map(plain, incident.regions))}"] if incident.regions else []
    lines += [f"- Routes: {', '.join(map(plain, incident.routes))}"] if incident.routes else []
    if incident.page_said:
        late = incident.page_said - incident.opened
        word = "after" if late >= 0 else "before"
        lines.append(f"- The provider's status page spoke of it {span(abs(late))} {word} edge had detected it")
    elif incident.subject.startswith("provider:"):
        lines.append("- The provider's status page has not spoken of it")
    lines += [f"- Acknowledged: {plain(incident.acknowledged)}"] if incident.acknowledged else []
    lines += [f"- Joined into `{incident.joined_into}`"] if incident.joined_into else []
    return lines


def _seen(impact: Impact) -> list[str]:
    money = f"{abs(impact.extra_usd):.4f} US dollars {'more' if impact.extra_usd >= 0 else 'less'}"
    lines = [
        f"- {impact.requests} requests on the routes above; {impact.failed} of them failed",
        f"- {impact.delayed} were delayed: they went on at another target after a failed attempt",
        f"- {impact.degraded} were answered by a later tier, {impact.shed} refused because no target had room",
    ]
    if impact.answered_by:
        took = sorted(impact.answered_by.items(), key=lambda each: -each[1])
        others = " (these counts have other routes, too)" if sum(impact.answered_by.values()) > impact.requests else ""
        lines.append(f"- Answered meanwhile by {', '.join(f'{plain(name)} ({count})' for name, count in took)}{others}")
        if abs(impact.extra_usd) >= _LEAST_USD:
            lines.append(f"- These cost {money} than the same tokens would have cost at the target")
    if impact.attempts_failed:
        reasons = ", ".join(f"{plain(reason)} {count}" for reason, count in sorted(impact.attempts_failed.items()))
        lines.append(f"- Failed attempts at the targets, by reason: {reasons}")
    return lines
