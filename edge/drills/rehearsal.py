"""One run of the real data path on a virtual clock, between modelled clients and modelled providers."""

from __future__ import annotations

import re
import weakref
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from edge.app.translations import Translations
from edge.drills import answers
from edge.drills.agenda import Agenda
from edge.drills.results import NS, Results
from edge.drills.upstream import CONNECT_S, DECLINED
from edge.listen import reply
from edge.listen.local import Local
from edge.native import Call, DataPlane, Hooks, Router, SharedState, TargetCounter, VirtualWire, set_virtual
from edge.providers.retry_after import retry_after_seconds
from edge.routing.planner import allowance_capacity, capacities
from edge.routing.table import model_document, models_document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from edge.drills.load import Request
    from edge.drills.results import Minute
    from edge.drills.upstream import Plan, Upstream
    from edge.native import ConnectionPool, VirtualConnection
    from edge.terms.snapshot import Snapshot, Target

BEGIN_NS: Final = 1_000_000 * NS
"""The monotonic time at which every drill begins."""
SAMPLE_S: Final = 10
PATH: Final = b"/v1/chat/completions"
_NUMBER: Final = re.compile(rb"#(\d+);")
_CODE: Final = re.compile(rb'"code":\s*"([^"]+)"')
_PICTURE: Final = (
    b'{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQV'
    b'R42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="}}'
)
_CHARACTERS: Final = 4  # of a token
_MANY: Final = 1000  # connections of a target, of which some are gone
_REMEMBERED: Final = 50_000  # requests; attempts of one that is over may still be under way


class Asked(Struct):
    """What is known of one request under way."""

    request: Request
    results: Results
    minute: Minute


class Sample(Struct, frozen=True):
    """The targets at one moment."""

    at_s: float
    states: tuple[str, ...]  # closed, open, half_open, in the order of the targets
    inflight: tuple[int, ...]


def _why(call: Call) -> str:
    """Return in two words why a call brought nothing: its status and the code of its error."""
    found = None if call.last is None else _CODE.search(call.last)
    code = "" if found is None else found[1].decode()
    if call.complete:
        return f"{call.status} {code}".strip()
    return "broken" if call.first_ns else "left"


class Rehearsal:
    """A worker without sockets.

    Args:
        snapshot: what it decides by; its targets speak HTTP/1.1.
        route: the model that clients ask for.
        upstreams: the model of every target that may be asked, by its id.
        callers: the key of each caller; "" = none.
        wall_s: Unix time at the begin.
        seed: of the data path's chance.
        patience_s: how long a client waits.
        thief: the index of the caller whose requests are counted apart; None = there is none.
        blind: as for Results.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        route: str,
        upstreams: Mapping[str, Upstream],
        *,
        minutes: int,
        callers: Sequence[str] = ("",),
        wall_s: float,
        seed: int,
        patience_s: float,
        thief: int | None = None,
        blind: tuple[float, float] | None = None,
    ) -> None:
        self.results = Results(minutes, blind)
        self.thief = Results(minutes)
        self.samples: list[Sample] = []
        self.calls: list[tuple[Request, Call]] = []  # kept only if ``keeps`` is set
        self.keeps = False
        self._targets: dict[str, Target] = {target.id: target for target in snapshot.targets}
        self._slots = [(name, self._targets[name].slot) for name in upstreams]
        self._upstreams = upstreams
        self._route = route
        self._callers = callers
        self._thief = thief
        self._keys = snapshot.keys
        self._patience_ns = int(patience_s * NS)
        self._agenda = Agenda()
        self._asked: dict[int, Asked] = {}  # by number, until the client's answer is over
        self._requests: dict[int, Request] = {}  # by number, for longer
        self._connections: defaultdict[str, list[weakref.ref[VirtualConnection]]] = defaultdict(list)
        self._error: BaseException | None = None
        self._answering = ""
        self._filler = b"lorem ipsum dolor sit amet, " * 1000
        wall_ns = int(wall_s * NS)
        set_virtual(BEGIN_NS, wall_ns - BEGIN_NS)
        targets, routes = capacities(snapshot)
        self.state = SharedState.create(
            targets, routes, 1, BEGIN_NS, allowance_capacity(snapshot), pin_bytes=snapshot.limits.affinity
        )
        hooks = Hooks(
            replies=reply,
            local=Local(models_document, model_document, lambda: None).answer,
            retry_hint=retry_after_seconds,
            translations=Translations(),
        )
        self._plane = DataPlane(self.state, 0, Router(snapshot, self.state, 1), opener=self, hooks=hooks)
        self._wire = VirtualWire(self._plane, self, snapshot.listeners[0], BEGIN_NS, wall_ns, seed)

    def run(self, requests: Iterable[Request], acts: Iterable[tuple[float, Callable[[Rehearsal], None]]] = ()) -> None:
        """Let all requests come and end; ``acts`` happen at times in seconds from the begin."""
        self._coming = iter(requests)
        self._agenda.note(BEGIN_NS, self._sample)
        for upstream in self._upstreams.values():
            for phase in upstream.phases:
                if phase.condition.refused:
                    self._agenda.note(BEGIN_NS + int(phase.start_s * NS), self._cut, upstream.name)
        for at_s, act in acts:
            self._agenda.note(BEGIN_NS + int(at_s * NS), act, self)
        self._await_next()
        try:
            while (due_ns := self._agenda.next_ns) is not None:
                if self._wire.advance(max(due_ns, self._wire.now_ns)):
                    act, about = self._agenda.take()
                    act(about)
                if self._error is not None:
                    raise self._error
            self._settle()
        finally:
            self._plane.stop()
            set_virtual(0)

    def spent(self) -> dict[str, float]:
        """Return the US dollars that each key has spent."""
        return {key.name: self.state.read_allowance(key.slot)["spent_nano"] / NS for key in self._keys}

    @property
    def now_ns(self) -> int:
        """The virtual monotonic time."""
        return self._wire.now_ns

    def _settle(self) -> None:
        for name, slot in self._slots:
            counts = self.state.read_target(slot, self.now_ns)["counts"]
            self.results.cost_usd += counts[TargetCounter.T_COST_NANO] / NS
            self.results.attempts[name] = counts[TargetCounter.T_ATTEMPTS]
            self.results.most[name] = self._upstreams[name].most
            self.results.refused[name] = self._upstreams[name].refused

    # ---- clients

    def _await_next(self) -> None:
        request = next(self._coming, None)
        if request is not None:
            self._agenda.note(BEGIN_NS + request.at_ns, self._ask, request)
        else:
            self._coming = iter(())

    def _ask(self, request: Request) -> None:
        self._await_next()
        results = self.thief if request.caller == self._thief else self.results
        self._asked[request.number] = Asked(request, results, results.begun(request))
        self._requests[request.number] = request
        self._requests.pop(request.number - _REMEMBERED, None)
        body = self._body(request)
        fields = [(b"host", b"localhost"), answers.JSON, (b"content-length", str(len(body)).encode())]
        key = self._callers[request.caller]
        if key:
            fields.append((b"authorization", b"Bearer " + key.encode()))
        call = self._wire.call(PATH, fields, body, request.number)
        if self.keeps:
            self.calls.append((request, call))
        if not call.ended_ns:
            self._agenda.note(self.now_ns + self._patience_ns, self._lose_patience, call)

    def _body(self, request: Request) -> bytes:
        size = request.prompt * _CHARACTERS
        while len(self._filler) < size:
            self._filler += self._filler
        text = b"#%d; %b" % (request.number, self._filler[:size])
        content = b'"%b"' % text
        if request.image:
            content = b'[{"type":"text","text":"%b"},%b]' % (text, _PICTURE)
        stream = b'"stream":true,"stream_options":{"include_usage":true},' if request.stream else b""
        return b'{"model":"%b",%b"messages":[{"role":"user","content":%b}]}' % (
            self._route.encode(),
            stream,
            content,
        )

    def _lose_patience(self, call: Call) -> None:
        if not call.ended_ns:
            call.leave()

    def ended(self, call: Call) -> None:
        """Count the end of a client's request."""
        asked = self._asked.pop(call.number)
        request = asked.request
        good = call.complete and call.status == 200  # noqa: PLR2004
        if good and request.stream:
            good = call.last is not None and call.last.endswith(b"data: [DONE]\n\n")
        if good:
            asked.results.picture(request, "answered")
            if self._answering == self._slots[0][0]:
                asked.results.picture(request, "answered by the first")
            asked.results.answered(asked.minute, self._answering, (call.first_ns - call.begun_ns) / NS)
        else:
            asked.results.failed(asked.minute, _why(call))

    # ---- providers

    def open(self, pool: ConnectionPool) -> None:
        """Open a connection for a pool of the data path."""
        self._agenda.note(self.now_ns + int(CONNECT_S * NS), self._connect, pool)

    def _connect(self, pool: ConnectionPool) -> None:
        upstream = self._upstreams.get(pool.name)
        if upstream is None or upstream.condition(self._at_s()).refused:
            self._wire.refused(pool, "connection refused")
        else:
            known = self._connections[pool.name]
            if len(known) >= _MANY:
                known[:] = [one for one in known if one() is not None]
            known.append(weakref.ref(self._wire.connected(pool)))

    def asked(self, connection: VirtualConnection) -> None:
        """Take a whole request at a target."""
        try:
            self._take(connection)
        except Exception as error:  # noqa: BLE001 - the caller is compiled and has nobody to tell: run() raises it
            self._error = error

    def _take(self, connection: VirtualConnection) -> None:
        upstream = self._upstreams[connection.target]
        found = _NUMBER.search(connection.body)
        if found is None:
            raise RuntimeError(f"a request to {upstream.name} without its number")
        request = self._requests[int(found[1])]
        plan = upstream.begin(request, self._at_s())
        connection.owner = request
        if plan.kind == "refusal":
            self._agenda.note(self.now_ns + int(plan.first_s * NS), self._refuse, (connection, request, plan))
        elif plan.kind == "answer":
            at_ns = self.now_ns + int((plan.first_s if request.stream else plan.total_s) * NS)
            self._agenda.note(at_ns, self._begin, (connection, request, self.now_ns + int(plan.total_s * NS)))

    def _cut(self, name: str) -> None:
        """Break every connection to a target that cannot be reached any more."""
        for known in self._connections.pop(name, []):
            connection = known()
            if connection is None:
                continue
            request, connection.owner = connection.owner, None
            if request is not None:
                self._upstreams[name].end()
            connection.reset("connection reset")

    def left(self, connection: VirtualConnection) -> None:
        """Free the place of a request that was abandoned."""
        if connection.owner is not None:
            connection.owner = None
            self._upstreams[connection.target].end()

    def _refuse(self, about: tuple[VirtualConnection, Request, Plan]) -> None:
        connection, request, plan = about
        if connection.owner is not request:
            return
        if plan.code == DECLINED:
            self.results.picture(request, "declined")
        fields, body = answers.refusal(self._targets[connection.target], plan)
        connection.answer(plan.status, fields)
        connection.send(body)
        self._finish(connection, request)

    def _begin(self, about: tuple[VirtualConnection, Request, int]) -> None:
        connection, request, end_ns = about
        if connection.owner is not request or self._upstreams[connection.target].stands_still(self._at_s()):
            return
        first, rest = answers.written(self._targets[connection.target], request)
        if not request.stream:
            connection.answer(200, [answers.JSON, (b"content-length", str(len(rest)).encode())])
            self._end((connection, request, rest))
            return
        connection.answer(200, [answers.EVENTS, (b"transfer-encoding", b"chunked")])
        connection.send(first)
        self._agenda.note(end_ns, self._end, (connection, request, rest))

    def _end(self, about: tuple[VirtualConnection, Request, bytes]) -> None:
        connection, request, rest = about
        if connection.owner is not request or self._upstreams[connection.target].stands_still(self._at_s()):
            return
        self._answering = connection.target
        connection.send(rest)
        self._finish(connection, request)

    def _finish(self, connection: VirtualConnection, request: Request) -> None:
        if connection.owner is request:
            connection.owner = None
            self._upstreams[connection.target].end()
            connection.finish()

    # ---- looks

    def _at_s(self) -> float:
        return (self.now_ns - BEGIN_NS) / NS

    def _sample(self, _: object) -> None:
        views = [self.state.read_target(slot, self.now_ns) for _, slot in self._slots]
        self.samples.append(
            Sample(self._at_s(), tuple(view["state"] for view in views), tuple(view["inflight"] for view in views))
        )
        if self._at_s() < len(self.results.minutes) * 60:
            self._agenda.note(self.now_ns + SAMPLE_S * NS, self._sample)
