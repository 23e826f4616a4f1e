"""Describes the hooks of the data path: what it calls in Python, with shapes, units, errors, and who keeps which bytes.

Hooks are called synchronously and must not block. A hook is entered only where a request needs it: the relay path of a
request in the target's own dialect calls none of them. ``bytes`` are handed over and never changed afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypedDict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from native.state.answer_store import CacheEntry
    from native.state.callers import Caller
    from native.state.issued_ids import IssuedIds
    from native.state.tokens import Tokens

Fields = list[tuple[bytes, bytes]]
"""Header fields in order: lower-case name, value."""


class Reply(NamedTuple):
    """One whole answer of edge's own."""

    status: int  # of HTTP
    fields: Fields  # without framing; content-type among them
    content: bytes


class TargetState(NamedTuple):
    """Why one target of a route is not used now."""

    target: str  # its id
    code: int  # native.balance.balancer.Barred; 0 = it is usable
    # Behind an open circuit the TripReason, behind a quarantine the Outcome, behind what does not work there the
    # native.state.counters.Capability; 1 for a region that is not asked for
    # another reason than the rate limits of its targets; else 0.
    reason: int
    wait_s: float  # until it may be usable again; 0 = not known, or now


class FailedAttempt(NamedTuple):
    """One attempt that brought no good answer."""

    target: str
    outcome: str  # native.state.shared_state.Outcome in lower case
    detail: str  # in words, without secrets


class AnswerFacts(TypedDict):
    """Where an answer comes from."""

    target: str
    region: str
    attempts: int  # how many were started, a peer's included
    request_id: str


class StreamTranslator(Protocol):
    """Translates one event stream."""

    def push_events(self, data: bytes) -> list[bytes]:
        """Return what whole events (copied or kept as the translator likes) become; [] = nothing yet.

        Raises:
            ValueError: the events cannot be said in the client's dialect.
        """
        ...


class Translator(Protocol):
    """Translates between the dialect of a client and that of targets. edge.v1.Inference is the only one so far."""

    def read(self, message: bytes, stream: bool) -> bytes:
        """Return the request's body in the target's dialect; ValueError: the client's mistake, told to it with 400."""
        ...

    def write(self, body: bytes, facts: AnswerFacts) -> bytes:
        """Return a whole answer in the client's dialect; ValueError: the attempt counts as malformed."""
        ...

    def writer(self, facts: AnswerFacts) -> StreamTranslator:
        """Return the translator of one stream."""
        ...


class StreamTranslation(Protocol):
    """Translates one event stream from a target's dialect into the client's."""

    def push_events(self, data: bytes) -> Iterable[bytes]:
        """Return the client's events for whole events of the target; [] = nothing yet.

        Raises:
            ValueError: the events cannot be said in the client's dialect; the attempt counts as malformed.
        """
        ...

    def finish(self) -> bytes:
        """Return the events that complete the client's stream; b"" = they have been sent."""
        ...


class Conversation(Protocol):
    """One request of a client, which was read once and is written for each target of another dialect."""

    def body_for(self, dialect: str, model: str, strict: bool) -> tuple[bytes, bytes, tuple[str, ...]]:
        """Return path (behind the base path), body, and the names of hints that were dropped.

        Raises:
            ValueError: the dialect cannot express the request; with ``strict`` also where it would drop a hint.
        """
        ...

    def answer(self, dialect: str, body: bytes, request_id: str) -> bytes:
        """Return a target's whole answer in the client's dialect; ValueError: the attempt counts as malformed."""
        ...

    def stream(self, dialect: str, request_id: str) -> StreamTranslation:
        """Return the translator of one stream of a target."""
        ...


class ShownAnswer(NamedTuple):
    """What a client has of a stream that broke off."""

    client: str  # the client's dialect, or "completions"
    body: bytes  # of its request
    model: str  # as the client named it
    opening: bytes  # the first events of the stream, as the target sent them
    text: bytes  # the text of the stream, escaped as in a JSON string, without quotes
    request_id: str


class Continuation(StreamTranslation, Protocol):
    """Goes on with a stream that broke off. As a translation it is of the target that goes on now.

    What ``push_events`` raises has ``blameless`` set if the target's answer does not fit, which is no fault of it.
    """

    @property
    def may_go_on(self) -> bool:
        """Whether yet another target could go on, if the current one breaks off too."""
        ...

    @property
    def size(self) -> int:
        """Bytes of memory that the text occupies which is kept for yet another target."""
        ...

    def forget(self) -> None:
        """Keep the text no longer: nobody can go on after the current target."""
        ...

    def body_for(
        self, dialect: str, model: str, way: str, strict: bool, ask_usage: bool
    ) -> tuple[bytes, bytes, tuple[str, ...]]:
        """Return path, body and dropped hints for a target; ``way`` is Target.prefill, "" = ask in a new turn.

        Raises:
            ValueError: the dialect cannot express the request.
        """
        ...

    def add_usage(self, prompt_tokens: int, output_tokens: int) -> None:
        """Add what the attempt used that has just broken off; below 0 = not counted."""
        ...

    def begin(self, dialect: str, way: str) -> None:
        """Expect the stream of a target that was sent ``body_for``."""
        ...


class Translations(Protocol):
    """Translates between dialects: edge.dialects.translate. A dialect is named as in edge.yaml."""

    def read(self, dialect: str, body: bytes, model: str, stream: bool) -> Conversation:
        """Read a client's request; ValueError: the client's mistake, told to it with 400."""
        ...

    def resume(self, shown: ShownAnswer, translation: Any) -> Continuation:
        """Return what goes on with an answer; ``translation`` is what ``Conversation.stream`` returned for it, or None.

        Raises:
            ValueError: it is no answer that another target could go on with.
        """
        ...

    def error(self, target: str, client: str, status: int, body: bytes, request_id: str) -> bytes:
        """Return a target's error body in the client's dialect."""
        ...

    def own_error(self, client: str, status: int, body: bytes, request_id: str) -> bytes:
        """Return an error body of edge's own, which is OpenAI's shape, in the client's dialect."""
        ...

    def own_event(self, client: str, event: bytes) -> bytes:
        """Return an error event of edge's own (``data: ...``, OpenAI's shape) in the client's dialect."""
        ...


class LocalHandler(Protocol):
    """Answers what edge answers itself over HTTP: the list of models, one model, /healthz, /edge/status."""

    def __call__(self, operation: int, method: bytes, path: bytes, snapshot: Any, caller: Caller | None, /) -> Reply:
        """Return the whole reply.

        Args:
            operation: a native.proxy.router.Operation; the same for all requests of one path.
            method: GET or HEAD. The data path leaves out the content of a reply to HEAD.
            path: as sent, without the query.
            snapshot: the edge.terms.snapshot.Snapshot of this exchange; borrowed.
            caller: the owner of the key that was sent; None = keys are not asked for.
        """
        ...


class LocalCalls(Translator, Protocol):
    """Answers gRPC methods of edge's own, and says which they are."""

    def response_format(self, path: bytes) -> int:
        """Return PLAIN (0): not edge's; CHAT (1), CHAT_STREAM (2): translated to a model; LOCAL (3): answered here."""
        ...

    def answer(
        self, path: bytes, message: bytes, snapshot: Any, caller: Caller | None = None
    ) -> tuple[int, str, list[bytes]]:
        """Return gRPC status, text and response messages for one message of a LOCAL method."""
        ...

    def stays(self, path: bytes) -> bool:
        """Return whether the call stays open when the client has sent everything."""
        ...


class Cache(Protocol):
    """Keeps whole answers. Asked after admission and before any target is chosen, where a route has a cache.

    Times are monotonic nanoseconds. A question is a name of 32 bytes; requests with the same name may share an answer.
    """

    def question(self, scope: str, path: bytes, content: bytes) -> bytes | None:
        """Return the name of a question, or None: its answer is never kept.

        Args:
            scope: who may share the answer and which targets may give it.
            path: behind the base path of a provider, with the part of the query that is sent on.
            content: the request's body; borrowed.
        """
        ...

    def find(self, question: bytes, now_ns: int) -> CacheEntry | None:
        """Return the answer that is kept, however old; None: there is none that may be used."""
        ...

    def begin(self, question: bytes) -> tuple[bool, int]:
        """Register a flight: an exchange that asks a target.

        Returns:
            (True, flight): registered; the exchange calls ``end``. (True, 0): there is no room to register it.
            (False, flight): another exchange of the node asks already.
        """
        ...

    def flying(self, question: bytes, flight: int) -> bool:
        """Return whether that flight is still under way. A flight ends with its worker, too."""
        ...

    def keep(self, question: bytes, entry: CacheEntry, now_ns: int, until_ns: int) -> bool:
        """Keep an answer that has come now, until ``until_ns``; False: it is too large."""
        ...

    def end(self, question: bytes, flight: int) -> None:
        """End a flight, after ``keep`` or without an answer."""
        ...


class Kept(Protocol):
    """Reads which ids of what providers keep stand in JSON: edge.dialects.kept. ValueError: it is no JSON."""

    def named(self, content: bytes) -> list[bytes]:
        """Return the ids that a request names, the ones it is about first."""
        ...

    def issued(self, content: bytes) -> list[bytes]:
        """Return the ids that an answer gives out."""
        ...

    def listed(self, content: bytes) -> list[bytes]:
        """Return the ids of the objects in a list."""
        ...

    def without(self, content: bytes, ids: list[bytes]) -> bytes:
        """Return a list without the objects that have these ids."""
        ...

    def led_here(self, content: bytes, here: bytes) -> bytes:
        """Return an answer whose links to results of batches begin with ``here``, a URL without a path."""
        ...


class Replies(Protocol):
    """Words edge's own errors: the module edge.listen.reply. No method raises; the data path checked the arguments.

    What is returned may be shared between exchanges: the data path copies ``fields`` before it adds to them.
    """

    def problem(self, kind: str, detail: str) -> Reply:
        """Return the reply to a request that edge refuses; ``kind`` is a key of edge.listen.problems.PROBLEMS."""
        ...

    def too_long(self, status: int, most: int) -> Reply:
        """Return the reply for a target's error body of more than ``most`` bytes; ``status`` is the target's."""
        ...

    def unavailable(
        self,
        route: str,
        failed_attempts: list[FailedAttempt],
        states: list[TargetState],
        wait_s: float,
        service: bool,
        *,
        excluded: str = "",
    ) -> Reply:
        """Return the reply when no target is usable.

        Args:
            route: the name of the model or service.
            failed_attempts: in the order in which they were started; borrowed.
            states: of each target that the request may use; borrowed.
            wait_s: seconds until the earliest recovery.
            service: the route is a service, whose callers expect 502 and 504 where they apply.
            excluded: which targets are never asked this operation, and why.
        """
        ...

    def deadline(
        self, route: str, failed_attempts: list[FailedAttempt], states: list[TargetState], wait_s: float
    ) -> Reply:
        """Return the reply when the exchange's deadline has passed; arguments as for :meth:`unavailable`."""
        ...

    def overloaded(
        self, route: str, failed_attempts: list[FailedAttempt], states: list[TargetState], retry_after: int
    ) -> Reply:
        """Return the reply when no usable target has a free place; ``retry_after`` is in whole seconds."""
        ...

    def refusal(self, status: int, reason: str) -> Reply:
        """Return the reply to a request whose head or framing is refused."""
        ...

    def passed_over(self, code: int, capability: int) -> str:
        """Return one word for ``x-edge-reason``.

        ``code`` is a native.balance.balancer.Barred, 0 = a worse choice; ``capability`` is the
        native.state.counters.Capability that does not work, -1 = none.
        """
        ...

    def as_event(self, content: bytes) -> bytes:
        """Return an error body as the last server-sent event of a stream."""
        ...

    def event(self, code: str, detail: str, target: str, request_id: str) -> bytes:
        """Return the server-sent event that ends a stream which broke off."""
        ...

    def call_fields(self, status: int, fields: Fields, content: bytes) -> Fields:
        """Return a reply as the fields of a gRPC trailers-only response, ``grpc-status`` among them; a new list."""
        ...

    def call_end(self, code: int, text: str) -> Fields:
        """Return the trailers of a gRPC call; ``code`` is a gRPC status, an empty ``text`` gives no message."""
        ...

    def socket_error(self, status: int, fields: Fields, content: bytes) -> bytes:
        """Return the message on a WebSocket for an answer that is an error; ``content`` is its body."""
        ...

    def socket_event(self, data: bytes) -> bytes:
        """Return the message on a WebSocket for the data of an event that is an error."""
        ...

    def socket_items(self, event: bytes) -> bytes | None:
        """Return the output of a response as items of an input, with commas between them; None: its provider keeps it.

        ``event`` is the data of the event that ended the response.
        """
        ...

    def socket_warm_up(self, name: bytes, model: bytes, previous: bytes | None) -> list[bytes]:
        """Return the messages that answer a turn which generates nothing, as response ``name``; ``model`` is JSON."""
        ...

    def broken_call(self, code: int, detail: str, target: str) -> Fields:
        """Return the trailers of a gRPC call that failed after its first message; ``code`` 0 = UNAVAILABLE."""
        ...


class RetryHint(Protocol):
    """Reads how long an answer asks to stay away."""

    def __call__(self, fields: Fields, content: bytes = b"", /) -> float | None:
        """Return seconds, or None if the answer does not ask; ``content`` is the body of an error."""
        ...


class RecordSink(Protocol):
    """Takes what was recorded of exchanges that are over, in batches."""

    @property
    def exchange(self) -> Callable[..., Any]:
        """Make one record; keywords are the fields of edge.terms.trace.ExchangeRecord."""
        ...

    @property
    def attempt(self) -> Callable[..., Any]:
        """Make one record of an attempt; keywords are the fields of edge.terms.trace.AttemptRecord."""
        ...

    def take(self, records: list[Any]) -> bool:
        """Take up to 512 records, oldest first, every 100 ms; False: they are lost, and counted as such."""
        ...


class VerifiedToken(NamedTuple):
    """A token that is believed."""

    name: str  # of the caller, as keys or their ``identities`` name it
    groups: tuple[str, ...]
    lifetime_ns: int
    proof: object  # given to ``holds`` after each new Snapshot
    otherwise: str = ""  # the key that is for it, if none is for its name or groups
    accepted: bool = True


class RefusedToken(NamedTuple):
    """Why a token is refused."""

    kind: str  # of edge.listen.problems.PROBLEMS
    detail: str = ""
    keep_ns: int = 0  # for so long the same token is refused without being verified again
    fields: Fields | None = None  # more fields of the response
    accepted: bool = False


class TokenVerifier(Protocol):
    """Verifies each token once; what is believed or refused is remembered by native.state.tokens."""

    too_long: RefusedToken  # the answer to a token of more bytes than any may have

    def verify(self, token: bytes, peer: tuple[str, int] | None, now_ns: int) -> VerifiedToken | RefusedToken:
        """Return the verdict on a token, at a monotonic time; ``peer`` is the address of the client."""
        ...

    def holds(self, proof: Any) -> bool:
        """Return whether a token with this proof would still be believed."""
        ...


class Hooks(NamedTuple):
    """All hooks of one data plane. It calls a hook that is None nowhere."""

    replies: Replies
    local: LocalHandler
    # Return the seconds that the fields of an answer ask to stay away, or the body of an error if it is given; None =
    # they do not say. Called only where a field or the body may say so. The arguments are borrowed.
    retry_hint: RetryHint
    calls: LocalCalls | None = None
    translations: Translations | None = None  # None = a target is asked in its own dialect only
    # (names in a verified certificate as (kind, name), allowed names) -> whether it is another region's edge
    peer_names_match: Callable[[tuple[tuple[str, str], ...], tuple[str, ...]], bool] | None = None
    sink: RecordSink | None = None
    cache: Cache | None = None
    issued: IssuedIds | None = None  # None = no id is remembered: each is asked for everywhere
    kept: Kept | None = None
    tokens: Tokens | None = None  # None = no token is accepted
