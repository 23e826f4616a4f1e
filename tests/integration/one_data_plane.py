"""A data plane for tests: the whole native data path in the test's own process.

Configuration text goes through the real loader, check, planner and router; connections through the real opener; and
the data plane runs on the loop of a worker, in a thread of its own, so that peers and clients of the test are strangers
to it. Only processes, control and the admin listener are left out: those have tests of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from secure import HOSTS
from wires import Said, over_http2

from edge import clock
from edge.admission.tokens import Verifier
from edge.app.reactor_loop import ReactorLoop
from edge.app.record_sink import RecordSink
from edge.app.translations import Translations
from edge.cache.answers import Answers
from edge.config.load import read_text
from edge.control.compose import checked, compile_config
from edge.dialects import inference, kept
from edge.listen import reply
from edge.listen.calls import Calls
from edge.listen.certified import is_named
from edge.listen.local import Local
from edge.listen.server import open_listeners
from edge.listen.service_health import ServiceHealth
from edge.native import AnswerStore, Cell, DataPlane, Hooks, IssuedIds, Listener, Reactor, Router, SharedState, Tokens
from edge.providers.retry_after import retry_after_seconds
from edge.routing.planner import allowance_capacity, capacities
from edge.routing.table import model_document, models_document
from edge.sim.wire import Close, Peer, ReadToEnd, ReadUntil, Send, play_client
from edge.terms.trace import ExchangeRecord
from edge.upstream.opener import Opener
from native.balance.lateness import Lateness

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Coroutine, Mapping

    from secure import Secure

    from edge.sim.wire_tls import TlsWire
    from edge.terms.credentials import ProviderToken
    from edge.terms.snapshot import SigningKeys, Snapshot


T = TypeVar("T")


WIRE = "http1"
"""What clients of the tests speak; the fixture ``both_wires`` turns it."""
SECURE: Secure | None = None
"""The certificates of both sides; None = without TLS. The fixture ``with_tls_too`` turns it."""


def client_side() -> TlsWire | None:
    """Return a client's side of TLS for one HTTP/1.1 connection; None = without TLS."""
    return None if SECURE is None else SECURE.client()


def client_tls(*alpn: str) -> ssl.SSLContext | None:
    """Return a client's context; None = without TLS."""
    return None if SECURE is None else SECURE.trusting(*alpn)


def server_tls(*alpn: str) -> ssl.SSLContext | None:
    """Return the context of an upstream; None = without TLS."""
    return None if SECURE is None else SECURE.upstream(*alpn)


def verified() -> str:
    """Return the settings by which edge verifies an upstream, to be written behind others; empty = without TLS."""
    return "" if SECURE is None else f", {SECURE.verified}"


class OneDataPlane:
    """A running data plane: ``port`` is its listener; ``shared_state`` and ``snapshot`` are those it uses.

    ``records`` are the exchanges that it recorded; :meth:`recorded` waits for them.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        shared_state: SharedState,
        data_plane: DataPlane,
        port: int,
        thread: LoopThread,
        *,
        records: list[ExchangeRecord],
        verifier: Verifier,
        tokens: Tokens,
        issued: IssuedIds,
    ) -> None:
        self._records = records
        self.issued = issued
        self._verifier = verifier
        self.tokens = tokens
        self.thread = thread
        self.snapshot = snapshot
        self.shared_state = shared_state
        self.data_plane = data_plane
        self.port = port

    @property
    def url(self) -> str:
        """The root URL, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def target(self, name: str) -> dict[str, Any]:
        """Return a target's record in the shared state, by its id."""
        slot = next(target.slot for target in self.snapshot.targets if target.id == name)
        now_ns = clock.now_ns()
        return {**self.shared_state.read_target(slot, now_ns), "now_ns": now_ns}

    def outcomes(self, name: str) -> tuple[int, ...]:
        """Return how often each native.state.counters.Outcome occurred at a target."""
        return tuple(self.target(name)["counts"][:16])

    def observe(self, name: str, cell: Cell, ms: int, count: int) -> None:
        """Record first contents of a target, as this many answers would."""
        slot = next(target.slot for target in self.snapshot.targets if target.id == name)
        lateness = Lateness(self.shared_state, slot)
        for _ in range(count):
            lateness.observe(cell, ms * 1000)

    @property
    def records(self) -> list[ExchangeRecord]:
        """Return the records so far, as control would receive them."""
        return msgspec.msgpack.decode(msgspec.msgpack.encode(self._records), type=list[ExchangeRecord])

    async def recorded(self, count: int) -> list[ExchangeRecord]:
        """Wait until this many exchanges are recorded; return them."""
        async with asyncio.timeout(20):
            while len(self._records) < count:  # noqa: ASYNC110 - filled by another thread
                await asyncio.sleep(0.01)
        return self.records

    async def swap(
        self,
        text: str,
        signing: Mapping[str, SigningKeys] | None = None,
        held: Mapping[str, ProviderToken] | None = None,
    ) -> None:
        """Replace the configuration of the running data plane: same listeners, no more targets than before.

        ``signing`` are the signing keys of issuers, by source; ``held`` the tokens of providers; None: as before.
        """
        self.snapshot = compile_config(
            checked(read_text(text, "test", Path.cwd(), {})),
            now=clock.wall(),
            signing=signing or self.snapshot.signing,
            tokens=self.snapshot.tokens if held is None else held,
        )

        async def take() -> None:
            if self._verifier.learn(self.snapshot):
                self.tokens.forget_refused()
            self.data_plane.swap(Router(self.snapshot, self.shared_state, 1))

        await self.thread.run(take())

    async def raw(self, data: bytes, *, limit_s: float = 20.0) -> Peer | Said:
        """Send bytes on a new connection and read until edge closes it (HTTP/2: until the answer ends)."""
        if WIRE == "http2":
            return await over_http2(self.port, data, None, limit_s, client_tls("h2"))
        return await play_client(self.port, Send(data), ReadToEnd(), limit_s=limit_s, tls=client_side())

    async def ask(self, data: bytes, wait_for: bytes, *, limit_s: float = 20.0) -> bytes:
        """Send bytes on a new connection and read until ``wait_for`` has arrived; then close the connection."""
        if WIRE == "http2":
            return (await over_http2(self.port, data, wait_for, limit_s, client_tls("h2"))).received
        script = (Send(data), ReadUntil(wait_for), Close())
        return (await play_client(self.port, *script, limit_s=limit_s, tls=client_side())).received


class LoopThread:
    """A worker's loop in a thread; unhandled errors are kept and reported at the end."""

    def __init__(self) -> None:
        self.loop = ReactorLoop()
        self.faults: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda _, what: self.faults.append(what))
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        self.loop.run_forever()
        self.loop.close()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the thread."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.loop))

    def stop(self) -> None:
        """End the loop and the thread, and close the loop."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(60)
        assert not self.thread.is_alive(), "a loop does not close while a handle or a look-up is left"


@contextlib.asynccontextmanager
async def one_data_plane(
    text: str,
    folder: Path | None = None,
    signing: Mapping[str, SigningKeys] | None = None,
    held: Mapping[str, ProviderToken] | None = None,
) -> AsyncIterator[OneDataPlane]:
    """Run a data plane with this configuration on a free loopback port; ``listen`` is added if missing.

    ``signing`` are the signing keys of issuers, by source; ``held`` the tokens of providers, by name.
    """
    if "listen:" not in text:
        text += SECURE.listen if SECURE is not None else f'\nlisten: [{{address: "127.0.0.1:0", {HOSTS}}}]\n'
    config = checked(read_text(text, "test", folder or Path.cwd(), {}))
    snapshot = compile_config(config, now=clock.wall(), signing=signing, tokens=held)
    targets, routes = capacities(snapshot)
    shared_state = SharedState.create(
        targets, routes, 2, allowance_capacity=allowance_capacity(snapshot), pin_bytes=snapshot.limits.affinity
    )
    thread = LoopThread()
    records: list[ExchangeRecord] = []

    issued = IssuedIds.create(config.limits.issued_ids)
    verifier = Verifier(lambda _source: None)
    verifier.learn(snapshot)
    tokens = Tokens(verifier)
    calls = Calls(lambda: inference, models_document, usable=ServiceHealth(shared_state).is_usable)
    calls.follow(snapshot)

    def take(batch: list[ExchangeRecord]) -> bool:
        records.extend(batch)
        return True

    async def begin() -> tuple[Reactor, Opener, DataPlane, list[Listener]]:
        reactor = Reactor(thread.loop)
        opener = Opener(thread.loop, reactor)
        data_plane = DataPlane(
            shared_state,
            0,
            Router(snapshot, shared_state, 1),
            opener=opener,
            hooks=Hooks(
                replies=reply,
                local=Local(models_document, model_document).answer,
                retry_hint=retry_after_seconds,
                calls=calls,
                translations=Translations(),
                peer_names_match=is_named,
                sink=RecordSink(take),
                cache=Answers(AnswerStore.create(config.limits.cache)),
                issued=issued,
                kept=kept,
                tokens=tokens,
            ),
        )
        data_plane.start(reactor)
        return reactor, opener, data_plane, open_listeners(snapshot.listeners, data_plane)

    async def end() -> None:
        for listener in listeners:
            listener.close()
        data_plane.drain()
        data_plane.stop()
        await opener.stop()
        for _ in range(2500):  # at most 5 s: a loop that is closed under a connection may never end
            await asyncio.sleep(0.002)
            if not data_plane.connections:
                break
        reactor.close()

    reactor, opener, data_plane, listeners = await thread.run(begin())
    try:
        port = listeners[0].address()[1]
        yield OneDataPlane(
            snapshot,
            shared_state,
            data_plane,
            port,
            thread,
            records=records,
            verifier=verifier,
            tokens=tokens,
            issued=issued,
        )
    finally:
        await thread.run(end())
        thread.stop()
    assert thread.faults == []


def models(*urls: str, extra: str = "", defaults: str = "") -> str:
    """Return configuration text: a model ``chat`` over a provider per URL, each in its own tier, short deadlines."""
    providers = "\n".join(
        f"  p{n}: {{dialect: openai, base_url: '{url}/v1'{verified()}}}" for n, url in enumerate(urls)
    )
    targets = ", ".join(f"{{target: p{n}/m, tier: {n + 1}}}" for n in range(len(urls)))
    return f"""
providers:
{providers}
models:
  chat:
    targets: [{targets}]
    timeouts: {{connect: 2s, first_byte: 500ms, first_token: 700ms, stream_idle: 500ms, total: 5s}}
{extra}
{defaults}
"""


def patient(text: str) -> str:
    """Return configuration text of :func:`models` or of services, with deadlines that a slow machine does not reach."""
    text = re.sub(r"(first_byte|first_token|stream_idle): \d+m?s", r"\1: 20s", text)
    return re.sub(r"total: \ds", "total: 30s", text)


def post(
    body: bytes = b'{"model":"chat","messages":[]}', path: str = "/v1/chat/completions", fields: bytes = b""
) -> bytes:
    """Return a POST request as bytes."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    )
    return head.encode() + fields + b"\r\n" + body


STREAM = b'{"model":"chat","stream":true,"messages":[]}'


def whole(
    content: bytes = b'{"id":"a","choices":[{"message":{"content":"hello"}}]}', status: bytes = b"200 OK"
) -> bytes:
    """Return an answer with a length as bytes."""
    return (
        b"HTTP/1.1 "
        + status
        + b"\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(content)
        + content
    )


def chunk(data: bytes) -> bytes:
    """Return a chunk of a chunked body."""
    return b"%x\r\n" % len(data) + data + b"\r\n"


SSE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
HELLO = b'data: {"choices":[{"index":0,"delta":{"content":"hello"},"finish_reason":null}]}\n\n'
STOP = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"


def sse(*events: bytes, end: bool = True) -> bytes:
    """Return a chunked event stream as bytes; without ``end`` its last chunk is missing."""
    return SSE_HEAD + b"".join(chunk(event) for event in events) + (b"0\r\n\r\n" if end else b"")
