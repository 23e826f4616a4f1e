"""Tokens that edge calls providers with: fetched for those whose ``auth`` says so, and renewed ahead of their end.

No request waits for a token endpoint. While one is dark, the last token stays in use until its provider refuses it, and
then other targets answer. Tokens stand where api keys of providers stand: in the Snapshot, so a restart of control, or
of the node, goes on with those that have not expired.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from edge import clock as real
from edge.config import effective
from edge.credentials.exchange import CredentialError
from edge.credentials.fetch import fetch
from edge.providers import KNOWN
from edge.telemetry import logs
from edge.terms.credentials import ProviderToken

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from edge.clock import Clock
    from edge.config.schema import Config
    from edge.config.schema_provider_auth import ProviderAuth
    from edge.credentials.exchange import Grant

    Tokens = Mapping[str, ProviderToken]

AHEAD_S: Final = 300.0
SHARE: Final = 0.2
"""A token is renewed AHEAD_S before its end, or when this share of its life is left if that is more; but no sooner than
when half of its life is over."""

FIRST_S: Final = 3.0
"""How long a node that starts waits for the first tokens before it says that it serves."""

FIRST_WAIT_S: Final = 1.0
LONGEST_WAIT_S: Final = 30.0
REFUSED_S: Final = 5.0
LONGEST_REFUSED_S: Final = 300.0
"""Time between two fetches that a provider's refusal of the token causes: it doubles while each new one is refused."""

LIMIT_S: Final = 30.0
_LONGEST_ERROR: Final = 300


class TokenState(Struct, frozen=True):
    """The token of a provider, as operators see it; ``expires_s`` None: there is none."""

    provider: str
    type: str
    expires_s: float | None
    failures: int
    error: str  # why it cannot be renewed now; "" while it can


class _Followed:
    def __init__(self, auth: ProviderAuth, known: ProviderToken | None) -> None:
        self.auth = auth
        self.known = known
        self.tried_ns = 0
        self.failures = 0
        self.error = ""
        self.refusals = 0  # that each caused a fetch, in a row
        self.wanted = asyncio.Event()
        self.task: asyncio.Task[None] | None = None


class ProviderTokens:
    """Follows the providers of a configuration whose credential is fetched.

    Args:
        changed: called with all tokens, by provider, after changes.
        known: the tokens of an earlier control process or of the disk.
        environ: environment variables.
        clock: source of time and chance.
        fetch: fetches a token; see edge.credentials.fetch.
    """

    def __init__(
        self,
        changed: Callable[[Tokens], None],
        known: Tokens,
        environ: Mapping[str, str],
        clock: Clock = real,
        fetch: Callable[[ProviderAuth, Mapping[str, str], float], Awaitable[Grant]] = fetch,
    ) -> None:
        self._changed = changed
        self._known = dict(known)
        self._environ = environ
        self._clock = clock
        self._fetch = fetch
        self._followed: dict[str, _Followed] = {}
        for token in known.values():
            for secret in token.secrets:
                logs.redact_until(secret, token.expires, clock.wall())

    def follow(self, config: Config) -> None:
        """Follow the providers of this configuration from now on; those that stay are not disturbed."""
        wanted = effective.auths(config, KNOWN)
        for name, followed in list(self._followed.items()):
            if wanted.get(name) != followed.auth:
                if followed.task is not None:
                    followed.task.cancel()
                del self._followed[name]
        for name, auth in wanted.items():
            if name not in self._followed:
                known = self._known.get(name)
                usable = known is not None and known.wanted == auth.identity and known.expires > self._clock.wall()
                followed = self._followed[name] = _Followed(auth, known if usable else None)
                followed.task = asyncio.get_running_loop().create_task(self._run(name, followed))

    async def start(self, config: Config) -> None:
        """Follow the providers; return when each has a token or has failed, or after a bounded time."""
        self.follow(config)
        end_ns = self._clock.now_ns() + int(FIRST_S * 1e9)
        while self._clock.now_ns() < end_ns and not all(
            one.failures or one.known is not None for one in self._followed.values()
        ):
            await self._clock.sleep(0.01)

    def refused(self, provider: str) -> None:
        """Fetch another token soon, because the provider refuses this one; it may have been revoked."""
        one = self._followed.get(provider)
        if one is not None and not one.wanted.is_set():
            wait_s = min(REFUSED_S * 2.0 ** min(one.refusals, 10), LONGEST_REFUSED_S)
            if self._clock.now_ns() - one.tried_ns > wait_s * 1e9:
                one.refusals += 1
                one.wanted.set()

    def poll(self) -> None:
        """Fetch another token where the last one has expired although it is not due. Called once a second.

        So it is when the clock was set, or the machine was suspended: what waits for a token to be due does not wait by
        the wall clock.
        """
        wall = self._clock.wall()
        for name, one in self._followed.items():
            if one.known is not None and one.known.expires <= wall:
                self.refused(name)

    async def stop(self) -> None:
        """Stop renewing."""
        tasks = [one.task for one in self._followed.values() if one.task is not None]
        self._followed = {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def states(self) -> tuple[TokenState, ...]:
        """Return the state of each provider's token."""
        wall = self._clock.wall()
        return tuple(
            TokenState(
                provider=name,
                type=one.auth.type,
                expires_s=None if one.known is None else round(one.known.expires - wall, 1),
                failures=one.failures,
                error=one.error,
            )
            for name, one in self._followed.items()
        )

    async def _run(self, name: str, one: _Followed) -> None:
        wait_s = FIRST_WAIT_S
        if one.known is not None:
            await self._pause(one, _renewed_in(one.known, self._clock.wall()))
        while True:
            one.tried_ns = self._clock.now_ns()
            if not one.wanted.is_set():
                one.refusals = 0
            one.wanted.clear()
            try:
                async with asyncio.timeout(LIMIT_S):
                    grant = await self._fetch(one.auth, self._environ, self._clock.wall())
                self._take(name, one, grant)
            except (CredentialError, TimeoutError) as error:
                self._fail(name, one, str(error) or "no answer in time")
            except Exception as error:  # noqa: BLE001  # a defect with one provider must not end the others
                logs.say_failure("a token cannot be fetched or put to use", error, provider=name)
                self._fail(name, one, f"unexpected {type(error).__name__}")
            else:
                wait_s = FIRST_WAIT_S
                await self._pause(one, _renewed_in(one.known, self._clock.wall()))
                continue
            await self._clock.sleep(wait_s * (0.5 + self._clock.random() / 2))
            wait_s = min(wait_s * 2, LONGEST_WAIT_S)

    async def _pause(self, one: _Followed, pause_s: float) -> None:
        """Wait until the token is due, or a provider refuses it."""
        due = asyncio.get_running_loop().create_task(self._clock.sleep(pause_s * (0.95 + self._clock.random() / 20)))
        wanted = asyncio.get_running_loop().create_task(one.wanted.wait())
        try:
            await asyncio.wait([due, wanted], return_when=asyncio.FIRST_COMPLETED)
        finally:
            due.cancel()
            wanted.cancel()

    def _take(self, name: str, one: _Followed, grant: Grant) -> None:
        wall = self._clock.wall()
        taken = ProviderToken(grant.token, wall, grant.expires, one.auth.identity, grant.signing)
        for secret in taken.secrets:
            logs.redact_until(secret, grant.expires, wall)  # before anything can be logged of it
        if one.error:
            logs.say(logs.INFO, "a provider's token can be fetched again", provider=name)
        one.error = ""
        one.known = self._known[name] = taken
        logs.say(logs.DEBUG, "a provider's token was fetched", provider=name, expires_s=round(grant.expires - wall))
        self._changed(dict(self._known))

    def _fail(self, name: str, one: _Followed, reason: str) -> None:
        reason = logs.without_secrets(reason)[:_LONGEST_ERROR]
        one.failures += 1
        if reason != one.error:
            left_s = 0 if one.known is None else round(max(one.known.expires - self._clock.wall(), 0))
            sentence = "a provider's token cannot be fetched; the last one stays in use"
            logs.say(logs.WARNING, sentence, provider=name, error=reason, expires_s=left_s)
        one.error = reason


def _renewed_in(token: ProviderToken | None, wall: float) -> float:
    """Return in how many seconds a token should be renewed."""
    if token is None:
        return 0.0
    life = max(token.expires - token.fetched, 0.0)
    ahead = min(max(AHEAD_S, SHARE * life), life / 2)
    left = token.expires - max(wall, token.fetched)  # the clock was ahead then, if it was fetched in the future
    return max(left - ahead, 0.5)
