"""Faults of a simulated provider, and the decision whether one applies to a request.

A fault is immutable data; a FaultBoard holds the active faults and picks the first that applies. Times are seconds as
floats. Time and randomness are arguments, so every rule can be tested without waiting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from random import Random

Kind = Literal[
    "latency",  # the first token is delayed by delay_s
    "slow_tokens",  # every token is delayed by delay_s
    "error",  # an error status, with retry_after or ratelimit_reset if set
    "stall",  # silence after the head or after some tokens; the connection stays open
    "cut",  # the connection closes before the response is complete; with clean, the HTTP framing ends properly first
    "reset",  # TCP RST before the head, after it, or after some tokens
    "blackhole",  # the request is accepted and read, and never answered
    "refuse",  # the listening socket is closed and open connections are dropped
    "inband_error",  # an error within a 200, instead of the first content or after some tokens
    "corrupt",  # after some tokens one event is not JSON, and the stream goes on
    "no_done",  # the stream ends properly after finish_reason, but without [DONE]
    "garbage",  # a 200 that is not JSON and not an event stream
    "truncated",  # content-length promises more than is sent
    "flapping",  # an error status, then healthy, then the error status again, every period_s
    "capability",  # one path or one kind of request fails, and all others work
    "capacity",  # over `limit` at once, responses wait delay_s per excess request; over twice `limit`, they get status
]
KINDS: tuple[str, ...] = get_args(Kind)
Place = Literal["start", "head", "middle"]
Asked = Literal["any", "stream", "json", "tools", "image", "audio", "structured", "reasoning", "long"]
ASKED: tuple[str, ...] = get_args(Asked)
LONG_PROMPT = 32_768  # tokens; a longer prompt is "long"

#: Where a fault acts by default; kinds that are not listed have no place.
DEFAULT_PLACE: dict[str, Place] = {
    "latency": "start",
    "stall": "head",
    "cut": "middle",
    "reset": "start",
    "inband_error": "head",
    "corrupt": "middle",
}
PLACES: dict[str, tuple[Place, ...]] = {
    "latency": ("start", "head"),  # "head" of a stream: the status comes at once, the first token late
    "stall": ("head", "middle"),  # a stall at the start would be a blackhole
    "cut": ("start", "head", "middle"),
    "reset": ("start", "head", "middle"),
    "inband_error": ("head", "middle"),
    "corrupt": ("middle",),
}
DEFAULT_STATUS: dict[str, int] = {"error": 500, "flapping": 503, "capability": 500, "capacity": 429}
FLAP_PERIOD_S = 2.0
DEFAULT_DELAY_S: dict[str, float] = {"latency": 2.0, "slow_tokens": 0.5, "capacity": 0.05}


class Fault(Struct, frozen=True, forbid_unknown_fields=True):
    """A fault, the requests that it applies to, and how long it lasts.

    Raises:
        ValueError: a field does not fit the kind; the text names the field and the remedy.
    """

    kind: Kind
    rate: float = 1.0  # share of matching requests that are affected, 0..1
    after: int = 0  # number of matching requests that are spared first
    count: int = 0  # maximum number of affected requests; 0: no limit
    for_s: float = 0.0  # seconds until the fault ends by itself; 0: it does not
    period_s: float = 0.0  # active during the first `duty` of every period; 0: always
    duty: float = 0.5
    path: str = ""  # only requests whose path has this prefix; "": all
    asked: Asked = "any"  # only requests that ask for this
    model: str = ""  # only requests for this upstream model; "": all
    at: Place | None = None
    tokens: int = 3  # number of content tokens before a fault in the middle
    delay_s: float | None = None
    status: int | None = None
    retry_after: str | None = None  # the header value: seconds or an HTTP date
    ratelimit_reset: str | None = None  # the value of x-ratelimit-reset-requests: "1s", "6m0s", "12ms"
    code: str | None = None  # error.code of the body
    shape: Literal["openai", "vllm", "html", "json"] | None = None  # format of an error, or of garbage
    clean: bool = False  # cut: end the HTTP framing properly, so that only the incomplete content shows the fault
    limit: int = 0  # capacity: concurrent requests

    def __post_init__(self) -> None:
        """Reject combinations that have no meaning."""
        places = PLACES.get(self.kind, ())
        problems = (
            (not 0 <= self.rate <= 1, "rate must be a share between 0 and 1"),
            (not 0 < self.duty <= 1, "duty must be a share above 0 and at most 1"),
            (
                min(self.after, self.count, self.tokens, self.limit) < 0,
                "after, count, tokens and limit cannot be negative",
            ),
            (min(self.for_s, self.period_s, self.delay_s or 0.0) < 0, "for_s, period_s and delay_s cannot be negative"),
            (
                self.at is not None and self.at not in places,
                f"{self.kind} cannot act at {self.at!r}, only at: {', '.join(places) or 'nowhere'}",
            ),
            (self.kind == "capacity" and self.limit == 0, "capacity needs limit, the number of concurrent requests"),
            (
                self.kind == "capability" and not self.path and self.asked == "any",
                f'capability needs path (such as "/v1/embeddings") or asked ({", ".join(ASKED[1:])})',
            ),
            (
                self.status is not None and not 400 <= self.status <= 599,  # noqa: PLR2004 (the error statuses)
                "status must be an error, 400 to 599",
            ),
        )
        for wrong, sentence in problems:
            if wrong:
                raise ValueError(sentence)

    @property
    def place(self) -> Place:
        """The place in the response where it acts."""
        return self.at or DEFAULT_PLACE.get(self.kind, "start")

    @property
    def error_status(self) -> int:
        """The status of its error response, if it has one."""
        return self.status or DEFAULT_STATUS.get(self.kind, 500)

    @property
    def delay(self) -> float:
        """The seconds that it adds, if it adds any."""
        return DEFAULT_DELAY_S.get(self.kind, 0.0) if self.delay_s is None else self.delay_s


class Asks(Struct, frozen=True):
    """The properties of a request that faults match on."""

    path: str
    model: str = ""
    stream: bool = False
    tools: bool = False
    image: bool = False
    audio: bool = False
    structured: bool = False  # the response has to be JSON
    reasoning: bool = False
    prompt: int = 0  # tokens

    def includes(self, asked: Asked) -> bool:
        """Return whether the request asks for this."""
        return {
            "any": True,
            "stream": self.stream,
            "json": not self.stream,
            "tools": self.tools,
            "image": self.image,
            "audio": self.audio,
            "structured": self.structured,
            "reasoning": self.reasoning,
            "long": self.prompt > LONG_PROMPT,
        }[asked]


class Switched:
    """An active fault: since when, how many requests matched it, and how many it affected."""

    def __init__(self, fault: Fault, since_s: float) -> None:
        self.fault = fault
        self.since_s = since_s
        self.seen = 0
        self.struck = 0

    def expired(self, now_s: float) -> bool:
        """Return whether its time is over."""
        return self.fault.for_s > 0 and now_s - self.since_s >= self.fault.for_s

    def bites(self, asks: Asks, now_s: float, inflight: int, chance: Random) -> bool:
        """Decide whether it applies to one request, and count the request."""
        if self.expired(now_s) or not self._matches(asks):
            return False
        self.seen += 1
        struck = self._due(now_s, inflight) and (self.fault.rate >= 1 or chance.random() < self.fault.rate)
        self.struck += struck
        return struck

    def _matches(self, asks: Asks) -> bool:
        fault = self.fault
        return asks.path.startswith(fault.path) and asks.includes(fault.asked) and fault.model in {"", asks.model}

    def _due(self, now_s: float, inflight: int) -> bool:
        fault = self.fault
        period = fault.period_s or (FLAP_PERIOD_S if fault.kind == "flapping" else 0.0)
        return (
            self.seen > fault.after
            and (fault.count == 0 or self.struck < fault.count)
            and (period == 0 or (now_s - self.since_s) % period < period * fault.duty)
            and (fault.kind != "capacity" or inflight > fault.limit)
        )


class FaultBoard:
    """The faults of one provider, in order; at most one applies to a request."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._on: list[Switched] = []

    def switch(self, faults: tuple[Fault, ...], now_s: float) -> None:
        """Replace all faults by these; none means healthy."""
        self._on = [Switched(fault, now_s) for fault in faults if fault.rate > 0]

    def strike(self, asks: Asks, now_s: float, inflight: int) -> Fault | None:
        """Return the first fault that applies to this request, or None; ``inflight`` includes the request."""
        for switched in self._on:
            if switched.fault.kind != "refuse" and switched.bites(asks, now_s, inflight, self._chance):
                return switched.fault
        return None

    def shown(self, now_s: float) -> list[dict[str, Any]]:
        """Return the active faults with their counts, for ``GET /_sim/fault``."""
        return [
            {
                **{
                    name: value
                    for name, value in msgspec.structs.asdict(on.fault).items()
                    if value != DEFAULTS.get(name)
                },
                "seen": on.seen,
                "struck": on.struck,
                "age_s": round(now_s - on.since_s, 3),
            }
            for on in self._on
            if not on.expired(now_s)
        ]


DEFAULTS: dict[str, Any] = {
    info.name: info.default for info in msgspec.structs.fields(Fault) if info.default is not msgspec.NODEFAULT
}


def decode(body: bytes) -> tuple[Fault, ...]:
    """Parse one fault, a list of faults, or ``{"kind": "none"}`` (healthy again) from JSON.

    Raises:
        ValueError: the JSON is none of these; the text names the place.
    """
    try:
        given = msgspec.json.decode(body)
        if given in ({"kind": "none"}, None, []):
            return ()
        several = given if isinstance(given, list) else [given]
        for one in several:
            if isinstance(one, dict) and one.get("kind") not in KINDS:
                raise ValueError(f"not a fault: kind {one.get('kind')!r} is not one of: {', '.join(KINDS)}, none")
        return msgspec.convert(several, tuple[Fault, ...])
    except msgspec.MsgspecError as fault:  # msgspec's messages name the JSON path
        raise ValueError(f"not a fault: {fault}") from fault
