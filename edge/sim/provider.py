"""A simulated provider: a real HTTP/1.1 server with a given pace and with faults.

It implements the APIs of OpenAI, Anthropic and Gemini, each under its own paths.

``POST /_sim/fault`` sets its faults (see ``faults``), and ``GET /_sim/stats`` returns its counts, both on the port that
clients use.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any, Literal, Self

import msgspec
from aiohttp import web
from msgspec import Struct

from edge import clock
from edge.sim import asked
from edge.sim.answers import dumps, error_body
from edge.sim.asked import START, Ask, Pace, RefusedError
from edge.sim.delivery import before, deliver, error
from edge.sim.faults import Asks, Fault, FaultBoard, decode
from edge.sim.kept import Shelf, is_kept
from edge.sim.kept_vendors import VendorShelf, is_kept_by_vendor
from edge.sim.signatures import Identity, unsigned
from edge.sim.vendor_answers import LANGUAGES, error_in

if TYPE_CHECKING:
    import ssl

MODELS = ("sim-small", "sim-large", "sim-embed", asked.ECHO_MODEL)
MAX_BODY = 64 << 20
REQUESTS_PER_MINUTE = 10_000  # values of the x-ratelimit fields
TOKENS_PER_MINUTE = 2_000_000
_KEY_FIELDS = ("authorization", "api-key", "x-api-key", "x-goog-api-key")
_REOPEN_TRIES = 50
_REOPEN_WAIT_S = 0.1


class ProviderSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """The settings of a simulated provider: the name in every response, address, key (None: any), pace and faults."""

    name: str = "sim-a"
    host: str = "127.0.0.1"
    port: int = 0  # 0: a free port
    key: str | None = None
    pace: Pace = Pace()
    faults: tuple[Fault, ...] = ()
    # What it does with a last message of the assistant, and in a new turn that asks for the rest of an answer: goes on
    # with it, starts over, refuses the request, or repeats the words that it is asked to begin with.
    prefill: Literal["continue", "restart", "refuse"] = "restart"
    turn: Literal["continue", "restart", "repeat"] = "repeat"
    aws: tuple[Identity, ...] = ()  # who may ask, by AWS's signature; empty: it takes keys
    ahead_s: float = 0.0  # how far its clock is ahead, for signatures


class SimProvider:
    """A simulated provider on the running loop. Use as ``async with SimProvider(spec) as provider``."""

    def __init__(self, spec: ProviderSpec | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.spec = spec or ProviderSpec()
        self._tls = tls
        self._chance = Random(self.spec.name)
        self._shared_state = FaultBoard(self._chance)
        self._shelf = Shelf(self.spec.name)
        self._vendor_shelf: VendorShelf | None = None
        self._runner: web.AppRunner | None = None
        self._listener: asyncio.Server | None = None
        self._reopening: asyncio.Task[None] | None = None
        self._stopping = False
        self._port = self.spec.port
        self._connections_seen = 0
        self._inflight = 0
        self._counts: Counter[str] = Counter()
        self._paths: Counter[str] = Counter()
        self._targets: Counter[str] = Counter()  # with their queries
        self._struck: Counter[str] = Counter()
        self._statuses: Counter[str] = Counter()
        self._last_abort_s: float | None = None
        self._last_request_s: float | None = None

    # ---- lifecycle

    @property
    def url(self) -> str:
        """The server's root without a trailing slash; SDKs need ``base_url``."""
        return f"{'https' if self._tls else 'http'}://{self.spec.host}:{self._port}"

    @property
    def base_url(self) -> str:
        """The root of the API, for an SDK's ``base_url``."""
        return self.url + "/v1"

    @property
    def port(self) -> int:
        """The port that it listens on; it stays the same while connections are refused."""
        return self._port

    async def start(self) -> None:
        """Start to listen.

        Raises:
            OSError: the address is in use.
        """
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_route("*", "/_sim/{what}", self._control)
        app.router.add_route("*", "/{path:.*}", self._exchange)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await self._listen()
        await self.switch(*self.spec.faults)

    async def stop(self) -> None:
        """Close the listener and every connection."""
        self._stopping = True
        await self._cancel_reopening()
        self._close_listener()
        self._drop()
        if self._runner is not None:
            await self._runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(
            self._accept, self.spec.host, self._port, ssl=self._tls, backlog=1024, reuse_address=True
        )
        self._port = self._listener.sockets[0].getsockname()[1]

    def _accept(self) -> asyncio.BaseProtocol:
        if self._runner is None or self._runner.server is None:
            raise RuntimeError("a connection before start()")
        self._connections_seen += 1
        return self._runner.server()

    # ---- faults

    async def switch(self, *faults: Fault, spare: object = None) -> None:
        """Replace all faults; none means healthy. ``spare`` is a connection that a refusal must not drop."""
        await self._cancel_reopening()
        self._shared_state.switch(faults, _now_s())
        refusal = next((fault for fault in faults if fault.kind == "refuse"), None)
        if refusal is None:
            if self._listener is None:
                await self._listen()
            return
        self._close_listener()
        self._struck["refuse"] += 1
        self._drop(spare)
        if refusal.for_s:
            self._reopening = asyncio.create_task(self._reopen(refusal.for_s))

    def _close_listener(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()

    def _open(self) -> list[web.RequestHandler]:
        server = self._runner.server if self._runner is not None else None
        known = server.connections if server is not None else []
        return [each for each in known if each.transport is not None and not each.transport.is_closing()]

    def _drop(self, spare: object = None) -> None:
        """Abort every open connection, as the death of a process does."""
        for protocol in self._open():
            if protocol is not spare and protocol.transport is not None:
                protocol.transport.abort()

    async def _reopen(self, wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        for _ in range(_REOPEN_TRIES):  # a client's ephemeral port may occupy ours for a moment
            with contextlib.suppress(OSError):
                await self._listen()
                return
            await asyncio.sleep(_REOPEN_WAIT_S)

    async def _cancel_reopening(self) -> None:
        task, self._reopening = self._reopening, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def stats(self) -> dict[str, Any]:
        """Return the counts; times are CLOCK_MONOTONIC seconds, comparable across processes of one machine."""
        return {
            "name": self.spec.name,
            "requests": self._counts["requests"],
            "answered": self._counts["answered"],
            "concurrent": self._inflight,
            "max_concurrent": self._counts["max_concurrent"],
            "aborted_by_client": self._counts["aborted"],
            "last_abort_s": self._last_abort_s,
            "last_request_s": self._last_request_s,
            "connections": len(self._open()),
            "connections_seen": self._connections_seen,
            "by_path": dict(self._paths),
            "by_target": dict(self._targets),
            "by_status": dict(self._statuses),
            "by_fault": dict(self._struck),
        }

    async def _control(self, request: web.Request) -> web.StreamResponse:
        """Handle ``/_sim/fault`` and ``/_sim/stats``."""
        match request.method, request.match_info["what"]:
            case "GET", "stats":
                return _json(self.stats())
            case "DELETE", "stats":
                for counts in (self._counts, self._paths, self._targets, self._struck, self._statuses):
                    counts.clear()
                return _json(self.stats())
            case "GET", "fault":
                pass
            case "DELETE", "fault":
                await self.switch(spare=request.protocol)
            case "POST", "fault":
                try:
                    faults = decode(await request.read())
                except ValueError as fault:
                    return _json(error_body(str(fault), "invalid_request_error"), 400)
                if any(fault.kind == "refuse" and not fault.for_s for fault in faults):
                    sentence = "refuse closes this port: set for_s, the seconds until it opens again"
                    return _json(error_body(sentence, "invalid_request_error"), 400)
                await self.switch(*faults, spare=request.protocol)
            case _:
                sentence = "known paths: GET, POST, DELETE /_sim/fault and GET, DELETE /_sim/stats"
                return _json(error_body(sentence, "invalid_request_error"), 404)
        return _json({"name": self.spec.name, "faults": self._shared_state.shown(_now_s())})

    # ---- exchanges

    async def _exchange(self, request: web.Request) -> web.StreamResponse:
        """Handle and count one request."""
        self._counts["requests"] += 1
        self._paths[request.path] += 1
        self._targets[request.raw_path] += 1
        self._inflight += 1
        self._counts["max_concurrent"] = max(self._counts["max_concurrent"], self._inflight)
        self._last_request_s = _now_s()
        try:
            response = await self._answer(request)
        except (asyncio.CancelledError, ConnectionError):
            if not self._stopping:
                self._counts["aborted"] += 1
                self._last_abort_s = _now_s()
            raise
        finally:
            self._inflight -= 1
        self._counts["answered"] += 1
        self._statuses[str(response.status)] += 1
        return response

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        fields, path = self._fields(), asked.plain_path(request.path)
        body = await request.read()
        refused = self._refused(request, body, fields, path)
        if refused is not None:
            return refused
        if asked.operation_of(path) is None:
            return await self._look_up(request, body, fields)
        if request.method != "POST":
            return error(405, f"{path} takes POST, not {request.method}", {**fields, "allow": "POST"})
        try:
            ask = self._resumed(asked.read(path, body, self.spec.pace, request.headers.get("content-type", "")))
        except RefusedError as refusal:
            wrong = error_body(str(refusal), "invalid_request_error", code=refusal.code, param=refusal.param)
            return _json(error_in(path, refusal.status, wrong), refusal.status, fields)
        if ask.model == asked.ECHO_MODEL:
            ask = _echoing(ask, request, body)
        fault = ask.fault or self._shared_state.strike(ask.asks, _now_s(), self._inflight)
        broken = await self._strike(request, fault, fields, stream=ask.stream)
        if broken is not None:
            return broken
        serial = f"{self.spec.name}-{self._counts['requests']}"
        now = int(clock.wall())
        self._shelf.keep(ask, lambda: LANGUAGES[ask.operation](ask, self.spec.name, serial, now).whole())
        answer = LANGUAGES[ask.operation](ask, self.spec.name, serial, now)
        return await deliver(request, answer, fault, fields)

    def _refused(
        self, request: web.Request, body: bytes, fields: dict[str, str], path: str
    ) -> web.StreamResponse | None:
        """Return the answer to a request that has not the key, or not the signature, that this provider asks for."""
        if self.spec.key is not None and not _bears(request, self.spec.key):
            message = "Incorrect API key provided: use the key that this simulated provider was started with."
            return error(401, message, fields, path=path)
        why = unsigned(request, body, self.spec.aws, clock.wall() + self.spec.ahead_s) if self.spec.aws else None
        if why is None:
            return None
        return _json({"message": why.message}, 403, {**fields, "x-amzn-ErrorType": why.code})

    def _resumed(self, ask: Ask) -> Ask:
        """Return what is asked, with what the response leaves out if it goes on with a simulated answer.

        Raises:
            RefusedError: this provider does not continue a last message of the assistant, or has not what is named.
        """
        self._shelf.check(ask)
        if ask.begun_in == "prefill" and self.spec.prefill == "refuse":
            raise RefusedError(
                "This model does not support prefill: the last message must be a user's.", param="messages"
            )
        manner = self.spec.prefill if ask.begun_in == "prefill" else self.spec.turn
        begun = ask.begun
        count = begun.rstrip().count(" ") + 1 + begun.count(":")  # see Answer._tokens
        if not begun.startswith(START) or count >= ask.pace.tokens or manner == "restart":
            return msgspec.structs.replace(ask, first="", skip=0)
        first = ask.first if manner == "repeat" and ask.begun_in == "turn" else ""
        return msgspec.structs.replace(ask, first=first, skip=count)

    async def _look_up(self, request: web.Request, body: bytes, fields: dict[str, str]) -> web.StreamResponse:
        """Handle ``/v1/models`` and what is kept, and reject unknown paths."""
        path = asked.plain_path(request.path)
        fault = self._shared_state.strike(Asks(path), _now_s(), self._inflight)
        broken = await self._strike(request, fault, fields, stream=False)
        if broken is not None:
            return broken
        if is_kept_by_vendor(path, request.headers):
            root = f"{request.scheme}://{request.host}"
            self._vendor_shelf = self._vendor_shelf or VendorShelf(self.spec.name, root)
            said = self._vendor_shelf.answer(request.method, path, request.query, request.headers, body)
            more = {**fields, **said.fields}
            return web.Response(status=said.status, body=said.body, content_type=said.content_type, headers=more)
        if is_kept(path):
            said = self._shelf.answer(request.method, path, body, request.headers.get("content-type", ""))
            return web.Response(status=said.status, body=said.body, content_type=said.content_type, headers=fields)
        entries = [{"id": name, "object": "model", "created": 0, "owned_by": self.spec.name} for name in MODELS]
        if path == "/v1/models":
            return _json({"object": "list", "data": entries}, 200, fields)
        found = [entry for entry in entries if path == f"/v1/models/{entry['id']}"]
        if found:
            return _json(found[0], 200, fields)
        return error(404, f"Invalid URL ({request.method} {path})", fields)

    async def _strike(
        self, request: web.Request, fault: Fault | None, fields: dict[str, str], *, stream: bool
    ) -> web.StreamResponse | None:
        """Count a fault, and apply it before the response."""
        if fault is None:
            return None
        self._struck[fault.kind] += 1
        excess = max(self._inflight - fault.limit, 0)
        return await before(request, fault, self.spec.name, fields, excess=excess, stream=stream)

    def _fields(self) -> dict[str, str]:
        """Return the header fields of every response."""
        number = self._counts["requests"]
        left = REQUESTS_PER_MINUTE - number % REQUESTS_PER_MINUTE
        return {
            "x-request-id": f"req_{self.spec.name}_{number}",
            "x-sim-provider": self.spec.name,
            "x-ratelimit-limit-requests": str(REQUESTS_PER_MINUTE),
            "x-ratelimit-remaining-requests": str(left),
            "x-ratelimit-reset-requests": "6ms",
            "x-ratelimit-limit-tokens": str(TOKENS_PER_MINUTE),
            "x-ratelimit-remaining-tokens": str(TOKENS_PER_MINUTE - number % TOKENS_PER_MINUTE),
            "x-ratelimit-reset-tokens": "1ms",
        }


def _now_s() -> float:
    return clock.now_ns() / 1e9


def _json(value: Any, status: int = 200, fields: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=status, body=dumps(value), content_type="application/json", headers=fields)


def _bears(request: web.Request, key: str) -> bool:
    """Return whether a request has the key, in the field of any of the APIs."""
    given = (request.headers.get(name, "") for name in _KEY_FIELDS)
    return any(hmac.compare_digest(one.removeprefix("Bearer ").encode(), key.encode()) for one in given)


def _echoing(ask: Ask, request: web.Request, body: bytes) -> Ask:
    """Return the request with a response that describes what was received, byte for byte."""
    received = {
        "method": request.method,
        "path": request.raw_path,
        "headers": [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers],
        "body": base64.b64encode(body).decode(),
    }
    return msgspec.structs.replace(ask, echo=dumps(received).decode(), call=None)
