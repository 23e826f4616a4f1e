"""Incidents over the HTTP admin API.

GET  /api/incidents?from=UNIX&to=UNIX        open ones and those of a span (the last 30 days), newest first, in short
GET  /api/incidents/ID                       one, whole; with ?format=markdown a post-mortem
POST /api/incidents/ID/acknowledge|note      {"text": "..."}: who looks after it; a line for its timeline
GET  /api/alerts                             the webhooks that are told, without what may be secret of them
POST /api/alerts/test                        send a test to each of them, and say what it answered
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web

from edge import clock
from edge.admin.answers import json_answer, problem
from edge.admin.past import DAY_S, MomentError, span, unknown
from edge.incidents import elsewhere
from edge.incidents import incident as incidents
from edge.incidents.history import HistoryUnavailableError
from edge.incidents.notices import playbook_url
from edge.incidents.playbook_texts import playbook_text
from edge.incidents.postmortem import markdown
from edge.telemetry import logs

if TYPE_CHECKING:
    from edge.control.chronicle import Chronicle
    from edge.incidents.incident import Incident

MOST: Final = 500
LONGEST_TEXT: Final = 500


class Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a POST request."""

    text: str


class Incidents:
    """Request handlers below ``/api/incidents``."""

    def __init__(self, chronicle: Chronicle) -> None:
        self._chronicle = chronicle

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [
            web.get("/api/incidents", self._list),
            web.get("/api/incidents/{id}", self._one),
            web.post("/api/incidents/{id}/{action:acknowledge|note}", self._say),
            web.get("/api/alerts", self._receivers),
            web.post("/api/alerts/test", self._test),
        ]

    async def _list(self, request: web.Request) -> web.Response:
        refused = unknown(request, "from", "to")
        if refused is not None:
            return refused
        try:
            start, end = span(request, 30 * DAY_S)
            bodies = await self._chronicle.history.read(lambda db: db.incidents(start, end, MOST))
            stored = [incidents.decode(body) for body in bodies]
        except MomentError as error:
            return problem(400, str(error))
        except (HistoryUnavailableError, msgspec.MsgspecError) as error:
            logs.say(
                logs.WARNING, "incidents of the history cannot be read; those in memory are shown", error=str(error)
            )
            stored = []
        book = self._chronicle.book
        heard = self._chronicle.hearsay.known
        found = {each.id: each for each in (*stored, *heard.values(), *book.closed, *book.open.values())}
        ordered = sorted(
            elsewhere.joined(list(found.values())), key=lambda each: (each.closed == 0, each.opened), reverse=True
        )
        return json_answer([short_view(each) for each in ordered if each.opened < end][:MOST])

    async def _one(self, request: web.Request) -> web.Response:
        refused = unknown(request, "format")
        if refused is not None:
            return refused
        form = request.query.get("format", "json")
        if form not in ("json", "markdown"):
            return problem(400, "format must be json or markdown")
        try:
            found = await self._find(request.match_info["id"])
        except HistoryUnavailableError as error:
            return problem(503, str(error))
        if found is None:
            return _missing()
        if form == "markdown":
            text = markdown(found, clock.wall())
            return web.Response(text=text, content_type="text/markdown", charset="utf-8")
        playbooks = (each.alert.playbooks for each in self._chronicle.alerting.receivers)
        link = playbook_url(next(filter(None, playbooks), ""), found.playbook)
        others = [short_view(each) for each in elsewhere.beside(found, await self._others(found))]
        return json_answer(
            {**view(found), "elsewhere": others, "playbook_url": link, "playbook_text": playbook_text(found.playbook)}
        )

    async def _say(self, request: web.Request) -> web.Response:
        try:
            text = msgspec.json.decode(await request.read(), type=Said).text.strip()
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            return problem(400, f'the body must be JSON such as {{"text": "one line"}}: {error}')
        if not text or len(text) > LONGEST_TEXT or not text.isprintable():
            return problem(400, f"text must be one line of 1 to {LONGEST_TEXT} characters")
        try:
            found = await self._find(request.match_info["id"])
        except HistoryUnavailableError as error:
            return problem(503, str(error))
        if found is None:
            return _missing()
        if found.where:
            return problem(409, f"{found.where} keeps this incident: acknowledge it and add notes there")
        if request.match_info["action"] == "acknowledge":
            found.acknowledged = text
            found.tell(clock.wall(), "operator", f"acknowledged: {text}")
            self._chronicle.acted("acknowledge", found.id, text)
        else:
            found.tell(clock.wall(), "note", text)
            self._chronicle.acted("note", found.id, text)
        self._chronicle.keep(found)
        self._chronicle.history.flush()
        return json_answer(view(found))

    async def _receivers(self, _request: web.Request) -> web.Response:
        return json_answer([msgspec.to_builtins(each.state) for each in self._chronicle.alerting.receivers])

    async def _test(self, _request: web.Request) -> web.Response:
        return json_answer(await self._chronicle.alerting.test())

    async def _others(self, incident: Incident) -> list[Incident]:
        """Return incidents of other nodes in the time of one."""
        start, end = incident.first_symptom, incident.closed or clock.wall()
        found: dict[str, Incident] = {}
        try:
            bodies = await self._chronicle.history.read(lambda db: db.incidents(start, end + 1, MOST))
            found = {each.id: each for each in map(incidents.decode, bodies) if each.where}
        except (HistoryUnavailableError, msgspec.MsgspecError) as error:
            logs.say(logs.WARNING, "what other nodes told cannot be read; what is in memory is shown", error=str(error))
        return list({**found, **self._chronicle.hearsay.known}.values())

    async def _find(self, name: str) -> Incident | None:
        known = self._chronicle.book.find(name) or self._chronicle.hearsay.known.get(name)
        if known is not None:
            return known
        body = await self._chronicle.history.read(lambda db: db.incident(name))
        return None if body is None else incidents.decode(body)


def short_view(incident: Incident) -> dict[str, Any]:
    """Return an incident without its timeline."""
    whole = view(incident)
    del whole["events"]
    return whole


def view(incident: Incident) -> dict[str, Any]:
    """Return an incident with what follows from it: title, kind and playbook."""
    whole: dict[str, Any] = msgspec.to_builtins(incident)
    whole["events"] = [{**event, "text": logs.without_secrets(event["text"])} for event in whole["events"]]
    whole["missing"] = [logs.without_secrets(each) for each in whole["missing"]]
    return {"title": incident.title, "kind": incident.kind, "playbook": incident.playbook, **whole}


def _missing() -> web.Response:
    return problem(404, "there is no such incident; /api/incidents lists those of the last 30 days")
