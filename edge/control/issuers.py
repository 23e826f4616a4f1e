"""Fetching of the signing keys of token issuers, ahead of need; workers get them with the Snapshot.

An issuer that is dark, slow, or says something that cannot be used changes nothing: its last good keys stay in use, as
long as ``stale`` says, and over restarts of control and of the node. Otherwise an outage of the issuer would be an
outage of everything that it names the callers of.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from typing import TYPE_CHECKING, Final

import aiohttp
import msgspec
from msgspec import Struct

from edge import clock as real
from edge.admission.signing_keys import LONGEST, KeySetError, read_keys
from edge.config.addresses import forbidden, is_loopback, parse_link
from edge.config.check_auth import DISCOVERY, source_of
from edge.telemetry import logs
from edge.terms.snapshot import CONFIRMED_WITHIN, SigningKeys
from edge.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge.clock import Clock
    from edge.config.schema import Config
    from edge.config.schema_auth import Jwt
    from edge.terms.snapshot import SigningKey

    Signing = Mapping[str, SigningKeys]

LIMIT_S: Final = 10.0
LEAST_S: Final = 60.0
USUAL_S: Final = 300.0
MOST_S: Final = 3600.0
"""Time between two fetches: as Cache-Control says, within these; USUAL_S if it says nothing."""

WANTED_S: Final = 10.0
"""Time between two fetches that unknown keys in tokens ask for: anybody can make such a token."""

FIRST_S: Final = 3.0
"""How long a node that starts waits for the first answers before it says that it serves."""

FIRST_WAIT_S: Final = 1.0
LONGEST_WAIT_S: Final = 30.0
_LONGEST_ERROR: Final = 300
_OK: Final = 200
_NOT_MODIFIED: Final = 304
_MAX_AGE: Final = re.compile(r"(?:^|[\s,])max-age=\"?(\d{1,9})", re.IGNORECASE)


class IssuerState(Struct, frozen=True):
    """An issuer as operators see it."""

    issuer: str
    source: str
    keys: int
    age_s: float | None  # since it last confirmed the keys in use; None: not since control was started
    usable_s: float  # how much longer they count if it stays dark
    failures: int
    error: str  # why it does not confirm them now; "" while it does


class Fetched(Struct, frozen=True):
    """An answer: the keys, or None if they have not changed; how long it is fresh, in seconds; and its ETag."""

    keys: tuple[SigningKey, ...] | None
    fresh_s: float
    etag: str


class _Followed:
    """One source of keys."""

    def __init__(self, jwt: Jwt, known: SigningKeys | None) -> None:
        self.jwt = jwt
        self.known = known
        self.good_ns: int | None = None
        self.tried_ns = 0
        self.failures = 0
        self.error = ""
        self.etag = ""
        self.wanted = asyncio.Event()
        self.task: asyncio.Task[None] | None = None


class Issuers:
    """Follows the issuers of a configuration.

    Args:
        changed: called with the keys of all sources, former ones too, after changes.
        known: the keys of an earlier control process or of the disk, by source.
        clock: source of time and chance.
    """

    def __init__(self, changed: Callable[[Signing], None], known: Signing, clock: Clock = real) -> None:
        self._changed = changed
        self._known = dict(known)
        self._clock = clock
        self._followed: dict[str, _Followed] = {}

    def follow(self, config: Config) -> None:
        """Follow the issuers of this configuration from now on; those that stay are not disturbed."""
        wanted = {source_of(jwt): jwt for jwt in config.auth.jwt}
        for source, followed in list(self._followed.items()):
            if wanted.get(source) != followed.jwt:
                if followed.known is not None:
                    self._known[source] = followed.known
                if followed.task is not None:
                    followed.task.cancel()
                del self._followed[source]
        for source, jwt in wanted.items():
            if source not in self._followed:
                followed = self._followed[source] = _Followed(jwt, self._known.get(source))
                followed.task = asyncio.get_running_loop().create_task(self._run(source, followed))

    async def start(self, config: Config) -> None:
        """Follow the issuers of a configuration; return when each has said something, or after a bounded time."""
        self.follow(config)
        end_ns = self._clock.now_ns() + int(FIRST_S * 1e9)
        while self._clock.now_ns() < end_ns and not all(
            one.failures or one.good_ns is not None for one in self._followed.values()
        ):
            await self._clock.sleep(0.01)

    def want(self, source: str) -> None:
        """Fetch the keys of a source soon, because a token is signed with a key that is not among them."""
        if source in self._followed:
            self._followed[source].wanted.set()

    async def stop(self) -> None:
        """Stop fetching."""
        tasks = [followed.task for followed in self._followed.values() if followed.task is not None]
        self._followed = {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def states(self) -> tuple[IssuerState, ...]:
        """Return the state of each issuer."""
        now_ns, wall = self._clock.now_ns(), self._clock.wall()
        return tuple(
            IssuerState(
                issuer=one.jwt.issuer,
                source=source,
                keys=0 if one.known is None else len(one.known.keys),
                age_s=None if one.good_ns is None else (now_ns - one.good_ns) / 1e9,
                usable_s=_usable_s(one, wall),
                failures=one.failures,
                error=one.error,
            )
            for source, one in self._followed.items()
        )

    async def _run(self, source: str, one: _Followed) -> None:
        wait_s = FIRST_WAIT_S
        while True:
            one.tried_ns = self._clock.now_ns()
            one.wanted.clear()
            try:
                async with asyncio.timeout(LIMIT_S):
                    answer = await fetch(one.jwt, one.etag if one.known is not None else "")
                self._take(source, one, answer)
            except (OSError, TimeoutError, aiohttp.ClientError, KeySetError, ValueError) as error:
                self._fail(source, one, str(error) or type(error).__name__)
                pause_s, wait_s = wait_s, min(wait_s * 2, LONGEST_WAIT_S)
            except Exception as error:  # noqa: BLE001  # a defect with one issuer must not end the others
                logs.say_failure("an issuer's signing keys cannot be fetched", error, source=source)
                self._fail(source, one, f"unexpected {type(error).__name__}")
                pause_s, wait_s = wait_s, min(wait_s * 2, LONGEST_WAIT_S)
            else:
                pause_s, wait_s = answer.fresh_s, FIRST_WAIT_S
            await self._pause(one, pause_s * (0.9 + self._clock.random() / 5))

    async def _pause(self, one: _Followed, pause_s: float) -> None:
        """Wait, but no longer than a wanted key makes it; that has an interval of its own."""
        due = asyncio.get_running_loop().create_task(self._clock.sleep(pause_s))
        wanted = asyncio.get_running_loop().create_task(one.wanted.wait())
        try:
            await asyncio.wait([due, wanted], return_when=asyncio.FIRST_COMPLETED)
            early_s = WANTED_S - (self._clock.now_ns() - one.tried_ns) / 1e9
            if not due.done() and early_s > 0:
                sooner = asyncio.get_running_loop().create_task(self._clock.sleep(early_s))
                try:
                    await asyncio.wait([due, sooner], return_when=asyncio.FIRST_COMPLETED)
                finally:
                    sooner.cancel()
        finally:
            due.cancel()
            wanted.cancel()

    def _take(self, source: str, one: _Followed, answer: Fetched) -> None:
        if one.error:
            logs.say(logs.INFO, "an issuer gives out its signing keys again", issuer=one.jwt.issuer, source=source)
        one.error, one.etag, one.good_ns = "", answer.etag, self._clock.now_ns()
        keys = answer.keys if answer.keys is not None or one.known is None else one.known.keys
        wall = self._clock.wall()
        same = one.known is not None and keys == one.known.keys
        if same and one.known is not None and 0 <= wall - one.known.confirmed < one.jwt.stale / 1e9 / CONFIRMED_WITHIN:
            return
        if not same:
            logs.say(logs.INFO, "signing keys of an issuer", issuer=one.jwt.issuer, keys=len(keys or ()))
        one.known = self._known[source] = SigningKeys(keys or (), wall)
        self._changed(dict(self._known))  # of former issuers too, which a reload may name again

    def _fail(self, source: str, one: _Followed, reason: str) -> None:
        reason = reason[:_LONGEST_ERROR]
        one.failures += 1
        if reason != one.error:
            left_s = _usable_s(one, self._clock.wall())
            sentence = "an issuer does not give out its signing keys; the last known stay in use"
            facts = {"issuer": one.jwt.issuer, "source": source, "error": reason, "usable_s": round(left_s)}
            logs.say(logs.WARNING, sentence, **facts)
        one.error = reason


def _usable_s(one: _Followed, wall: float) -> float:
    """Return how many seconds longer the known keys count if the issuer stays dark."""
    return 0.0 if one.known is None else max(one.known.usable_until(one.jwt.stale) - wall, 0.0)


async def fetch(jwt: Jwt, etag: str) -> Fetched:
    """Return what an issuer says its keys are.

    Raises:
        KeySetError, ValueError, OSError, aiohttp.ClientError: they cannot be had.
    """
    trusted: ssl.SSLContext | bool = True if jwt.ca is None else ssl.create_default_context(cafile=jwt.ca)
    headers = {"User-Agent": f"edge/{VERSION}", "Accept": "application/json", "Accept-Encoding": "identity"}
    connector = aiohttp.TCPConnector(ssl=trusted)
    async with aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, headers=headers
    ) as client:
        where = jwt.jwks or await _where(client, jwt)
        async with client.get(
            where, allow_redirects=False, headers={"If-None-Match": etag} if etag else None
        ) as answer:
            match = _MAX_AGE.search(answer.headers.get("Cache-Control", ""))
            fresh_s = USUAL_S if match is None else min(max(float(match[1]), LEAST_S), MOST_S)
            if answer.status == _NOT_MODIFIED and etag:
                return Fetched(None, fresh_s, etag)
            body = await _body(answer)
            return Fetched(read_keys(body), fresh_s, answer.headers.get("ETag", "")[:200])


async def _where(client: aiohttp.ClientSession, jwt: Jwt) -> str:
    """Return the URL of the keys from an issuer's own document (OpenID Connect Discovery 1.0, section 4).

    Raises:
        KeySetError: the document is another issuer's, or names a URL that is less safe than its own.
    """
    issuer = jwt.issuer.rstrip("/")
    async with client.get(issuer + DISCOVERY, allow_redirects=False) as answer:
        try:
            said = msgspec.json.decode(await _body(answer))
        except (msgspec.MsgspecError, RecursionError) as error:
            raise KeySetError("its configuration is not JSON") from error
    if not isinstance(said, dict) or said.get("issuer") != jwt.issuer or not isinstance(said.get("jwks_uri"), str):
        raise KeySetError("its configuration has no jwks_uri, or is that of another issuer")
    url, own = parse_link(said["jwks_uri"]), parse_link(issuer)
    if forbidden(url.host) or (not url.tls and (own.tls or url.host != own.host)):
        raise KeySetError("its jwks_uri is not https, or must not be called")
    if is_loopback(url.host) and not is_loopback(own.host):
        raise KeySetError("its jwks_uri leads to this machine")
    return str(said["jwks_uri"])


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    """Return a body, at most LONGEST bytes and one.

    Raises:
        KeySetError: the answer is not what was asked for.
    """
    if answer.status != _OK:
        raise KeySetError(f"it answers with status {answer.status}")
    if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise KeySetError("it compresses although that was not asked for")
    parts: list[bytes] = []
    size = 0
    async for part in answer.content.iter_any():
        size += len(part)
        parts.append(part)
        if size > LONGEST:
            raise KeySetError(f"it sends more than {LONGEST >> 10} KiB")
    return b"".join(parts)
