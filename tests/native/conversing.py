"""Conversations on the virtual wire: workers that share a state, clients that talk on, targets that answer or fail."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from edge.config.load import read_text
from edge.control.compose import checked, compile_config
from edge.drills.agenda import Agenda
from edge.listen import reply
from edge.listen.local import Local
from edge.native import Call, DataPlane, Hooks, Router, SharedState, VirtualConnection, VirtualWire, set_virtual
from edge.providers.retry_after import retry_after_seconds
from edge.routing.planner import allowance_capacity, capacities
from edge.routing.table import model_document, models_document

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge.terms.snapshot import Snapshot
    from native.http.connection_pool import ConnectionPool

S: Final = 1_000_000_000
BEGIN: Final = 5_000_000 * S
WALL: Final = 1_774_791_614 * S
CHAT: Final = "/v1/chat/completions"
ANSWER: Final = {
    "id": "1",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
}


def text_of(targets: Sequence[str], *, affinity: str = "auto", extra: str = "", provider: str = "") -> str:
    """Return a configuration with the model ``chat`` over these targets, each ``name`` or ``name, weight: 2``."""
    names = [target.partition(",")[0] for target in targets]
    providers = "\n".join(f'  {name}: {{base_url: "http://127.0.0.1:9/v1"{provider}}}' for name in names)
    members = ", ".join(
        "{target: " + target.partition(",")[0] + "/m" + target[len(target.partition(",")[0]) :] + "}"
        for target in targets
    )
    return f"""
providers:
{providers}
models:
  chat:
    targets: [{members}]
    affinity: {affinity}
    timeouts: {{first_token: 60s, first_byte: 60s, total: 90s}}
{extra}
"""


def compiled(text: str, previous: Snapshot | None = None) -> Snapshot:
    """Return the Snapshot of a configuration, perhaps the next one after another."""
    return compile_config(checked(read_text(text, "test.yaml", environ={})), now=WALL / S, previous=previous)


class Conversing:
    """``workers`` data planes over one shared state. Every answer takes ``seconds`` of virtual time."""

    def __init__(
        self,
        text: str,
        *,
        workers: int = 1,
        seconds: Callable[[str, bytes], float] = lambda _target, _body: 1.0,
        pin_bytes: int | None = None,
    ) -> None:
        self.down: set[str] = set()  # targets that refuse every request
        self.flaky: Counter[str] = Counter()  # how many requests a target still refuses
        self.refusal: tuple[int, int, float] = (503, 0, 0.01)  # status, Retry-After and seconds until it comes
        self.refused: Counter[str] = Counter()
        self.served: Counter[str] = Counter()
        self.answer: dict[str, Any] = dict(ANSWER)
        self.last: dict[int, VirtualConnection] = {}
        self.bodies: list[tuple[str, bytes]] = []
        self._seconds = seconds
        self._agenda = Agenda()
        self._number = 0
        set_virtual(BEGIN, WALL - BEGIN)
        self.snapshot = snapshot = compiled(text)
        targets, routes = capacities(snapshot)
        self.state = SharedState.create(
            targets,
            routes,
            workers,
            BEGIN,
            allowance_capacity(snapshot),
            pin_bytes=snapshot.limits.affinity if pin_bytes is None else pin_bytes,
        )
        self._workers = workers
        self.planes = [self._plane(worker) for worker in range(workers)]
        self.wires = [
            VirtualWire(plane, self, snapshot.listeners[0], BEGIN, WALL, number + 1)
            for number, plane in enumerate(self.planes)
        ]

    def _plane(self, worker: int) -> DataPlane:
        hooks = Hooks(
            replies=reply,
            local=Local(models_document, model_document, lambda: None).answer,
            retry_hint=retry_after_seconds,
        )
        router = Router(self.snapshot, self.state, self._workers)
        return DataPlane(self.state, worker, router, opener=self, hooks=hooks)

    def reload(self, text: str) -> None:
        """Let all workers take another configuration."""
        self.snapshot = compiled(text, self.snapshot)
        for plane in self.planes:
            plane.swap(Router(self.snapshot, self.state, self._workers))

    # --- what stands outside

    def open(self, pool: ConnectionPool) -> None:
        """Open a connection at once."""
        self._agenda.note(self.now_ns, self._connect, pool)

    def _connect(self, pool: ConnectionPool) -> None:
        self.wires[self.wire].connected(pool)

    def asked(self, connection: VirtualConnection) -> None:
        """Answer when the time has come, or refuse."""
        name = connection.target.partition("/")[0]
        connection.owner = self.wire
        if name in self.down or self.flaky[name] > 0:
            self.flaky[name] -= 1
            self.refused[name] += 1
            self._agenda.note(self.now_ns + int(self.refusal[2] * S), self._refuse, connection)
            return
        self.bodies.append((name, connection.body))
        delay = self._seconds(name, connection.body)
        self._agenda.note(self.now_ns + int(delay * S), self._answer, connection)

    def _refuse(self, connection: VirtualConnection) -> None:
        status, retry_after, _ = self.refusal
        fields = [(b"content-length", b"2"), (b"content-type", b"application/json")]
        if retry_after:
            fields.append((b"retry-after", b"%d" % retry_after))
        connection.answer(status, fields)
        connection.send(b"{}")
        connection.finish()

    def _answer(self, connection: VirtualConnection) -> None:
        body = json.dumps(self.answer).encode()
        self.served[connection.target.partition("/")[0]] += 1
        connection.answer(200, [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")])
        connection.send(body)
        connection.finish()

    def left(self, connection: VirtualConnection) -> None:
        """A request was abandoned."""

    def ended(self, call: Call) -> None:
        """An answer is over."""

    # --- clients

    @property
    def now_ns(self) -> int:
        """The virtual time."""
        return max(wire.now_ns for wire in self.wires)

    wire = 0  # the worker that acts now

    def ask(self, body: dict[str, Any] | bytes, path: str = CHAT, worker: int = 0) -> Call:
        """Let a client ask now."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        fields = [
            (b"host", b"localhost"),
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(content)),
        ]
        self._number += 1
        self.wire = worker
        if self.wires[worker].now_ns < self.now_ns:
            self.wires[worker].advance(self.now_ns)
        return self.wires[worker].call(path.encode(), fields, content, self._number)

    def run(self, seconds: float) -> None:
        """Let time pass for the worker that acts."""
        wire = self.wires[self.wire]
        until = wire.now_ns + int(seconds * S)
        while True:
            due = self._agenda.next_ns
            if not wire.advance(max(min(until if due is None else due, until), wire.now_ns)):
                continue
            due = self._agenda.next_ns
            if due is None or due > until:
                return
            act, about = self._agenda.take()
            act(about)

    def say(self, body: dict[str, Any] | bytes, path: str = CHAT, worker: int = 0) -> str:
        """Ask, wait for the answer, and return the provider that gave it."""
        call = self.ask(body, path, worker)
        for _ in range(200):
            if call.ended_ns:
                break
            self.run(0.1)
        assert call.status == 200, (call.status, call.last)
        return target_of(call)


def target_of(call: Call) -> str:
    """Return the provider that answered."""
    return dict(call.fields)[b"x-edge-target"].decode().partition("/")[0]


class Talk:
    """A conversation in OpenAI's chat dialect, which grows by an answer and a question with each turn."""

    def __init__(self, world: Conversing, name: str, model: str = "chat", system: str = "Be brief.") -> None:
        self.world = world
        self.model = model
        self.messages = [{"role": "system", "content": system}, {"role": "user", "content": f"I am {name}."}]

    @property
    def body(self) -> dict[str, Any]:
        """The request of the turn."""
        return {"model": self.model, "messages": list(self.messages)}

    def went_on(self) -> None:
        """Add the answer and the next question."""
        turn = len(self.messages)
        self.messages.append({"role": "assistant", "content": f"Answer {turn} to {self.messages[1]['content']}"})
        self.messages.append({"role": "user", "content": f"Question {turn}?"})

    def turn(self, worker: int = 0) -> str:
        """Ask, and return the provider that answered."""
        target = self.world.say(self.body, worker=worker)
        self.went_on()
        return target
