"""A webhook with its queue: notices go out in order, are tried again with growing pauses, and are bounded in number."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from typing import TYPE_CHECKING, Final

import aiohttp
from msgspec import Struct

from edge import clock
from edge.config.addresses import parse_link
from edge.config.check_incidents import form_of
from edge.incidents import notices
from edge.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.config.schema_incidents import Alert
    from edge.incidents.notices import Notice

LIMIT_S: Final = 10.0
MOST_WAITING: Final = 100
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0
GIVES_UP_S: Final = 24 * 3600.0
_TRY_AGAIN: Final = frozenset({408, 425, 429})
_DONE_BELOW: Final = 300
_OWN_FAULT: Final = 400
_SERVER: Final = 500


class ReceiverState(Struct, frozen=True):
    """A webhook as the status shows it, without what may be secret of its address."""

    name: str
    host: str
    form: str
    on: tuple[str, ...]
    waiting: int
    sent: int
    failed: int
    dropped: int
    error: str  # why the last try failed; "" if it did not


class Receiver:
    """Sends notices to one webhook.

    Args:
        alert: the webhook.
        delivered: called with each notice that was accepted.
    """

    def __init__(self, alert: Alert, delivered: Callable[[Receiver, Notice], None]) -> None:
        self.alert = alert
        self.form = form_of(alert)
        self.name = hashlib.sha256(alert.webhook.encode()).hexdigest()[:8]
        self._delivered = delivered
        self._waiting: deque[tuple[Notice, int]] = deque()
        self._more = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._sent, self._failed, self._dropped = 0, 0, 0
        self._error = ""

    @property
    def state(self) -> ReceiverState:
        """What the status shows."""
        host = parse_link(self.alert.webhook).host
        return ReceiverState(
            self.name,
            host,
            self.form,
            self.alert.on,
            len(self._waiting),
            self._sent,
            self._failed,
            self._dropped,
            self._error,
        )

    def waits(self, notice: Notice) -> bool:
        """Return whether a notice of this incident and step is in the queue."""
        return any((each.incident, each.step) == (notice.incident, notice.step) for each, _ in self._waiting)

    def offer(self, notice: Notice) -> None:
        """Queue a notice; the oldest is dropped if too many wait."""
        if len(self._waiting) >= MOST_WAITING:
            self._waiting.popleft()
            self._dropped += 1
        self._waiting.append((notice, clock.now_ns()))
        self._more.set()
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Stop sending; what waits is offered again by the next control process."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def try_once(self, notice: Notice) -> str:
        """Send a notice now, outside the queue; return "" or why it was not accepted."""
        try:
            status, _ = await self._post(notice)
        except (OSError, TimeoutError, aiohttp.ClientError, ValueError) as error:
            return logs.without_secrets(str(error) or type(error).__name__)[:200]
        return "" if status < _DONE_BELOW else f"status {status}"

    async def _run(self) -> None:
        while True:
            while self._waiting:
                notice, offered_ns = self._waiting[0]
                await self._deliver(notice, offered_ns)
                if self._waiting and self._waiting[0][0] is notice:
                    self._waiting.popleft()
            self._more.clear()
            await self._more.wait()

    async def _deliver(self, notice: Notice, offered_ns: int) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            after_s = None
            try:
                status, after_s = await self._post(notice)
                said = f"status {status}"
                final = _OWN_FAULT <= status < _SERVER and status not in _TRY_AGAIN
            except (OSError, TimeoutError, aiohttp.ClientError, ValueError) as error:
                status, final = 0, False
                said = logs.without_secrets(str(error) or type(error).__name__)[:200]
            if 0 < status < _DONE_BELOW:
                self._error = ""
                self._sent += 1
                self._delivered(self, notice)
                return
            if not self._error:
                logs.say(logs.WARNING, "a webhook takes no notices", host=self.state.host, error=said)
            self._error = said
            if final or clock.now_ns() - offered_ns > GIVES_UP_S * 1e9:
                self._failed += 1
                return
            await clock.sleep(max(after_s or 0.0, pause_s * (0.5 + clock.random())))
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    async def _post(self, notice: Notice) -> tuple[int, float | None]:
        """Send a notice; return the status, and how long the receiver asks to wait, at most an hour."""
        alert = self.alert
        content = notices.body(notice, self.form, alert.secret, alert.playbooks)
        fields = notices.headers(content, self.form, alert.secret, notice)
        async with (
            asyncio.timeout(LIMIT_S),
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), trust_env=alert.proxy == "env") as client,
            client.post(
                str(alert.webhook),
                data=content,
                headers=fields,
                allow_redirects=False,  # the notice is for this address, and its secret too
                proxy=None if alert.proxy in ("", "env") else alert.proxy,
            ) as answer,
        ):
            asked = answer.headers.get("Retry-After", "")
            after_s = min(float(asked), 3600.0) if asked.isascii() and asked.isdecimal() and len(asked) < 8 else None  # noqa: PLR2004  # digits
            return answer.status, after_s
