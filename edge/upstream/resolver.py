"""Name resolution with a cache: one lookup serves many connections, and a stale answer serves when a lookup fails.

``getaddrinfo`` does not report a record's time to live, so answers are kept for a short, fixed time. When a lookup
fails or is slow, the last good answer stays in use until a better one arrives, so that an outage of the resolver does
not become an outage of the provider.

The configuration rejects hosts that must never be called (a cloud's metadata service, link-local addresses); names that
resolve to such addresses are refused here.
"""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Final, NamedTuple

from edge import clock
from edge.config.addresses import forbidden
from edge.upstream.exhausted import out_of_descriptors

if TYPE_CHECKING:
    from collections.abc import Sequence

# Long enough to spare the resolver under load, short enough to follow a provider that moves (providers' own records
# have a TTL of 30 to 300 s).
KEEP_NS: Final = 30 * 1_000_000_000
# How long a failed lookup, or the stale answer used instead, is kept before the next try.
RETRY_NS: Final = 1_000_000_000
# How long a caller that has a stale answer waits for a lookup. The system gives up on a silent name server after ten
# seconds or more, long after the caller's own connect timeout.
PATIENCE_S: Final = 0.1


class Address(NamedTuple):
    """A numeric address to connect to."""

    family: socket.AddressFamily
    host: str


class _Answer(NamedTuple):
    addresses: tuple[Address, ...]
    until_ns: int
    error: OSError | None


class Resolver:
    """Resolves names on the running loop; concurrent callers for one name share one lookup.

    At most ``capacity`` names are cached; when the cache is full, the answer that expires first is dropped.
    """

    def __init__(self, *, capacity: int = 1024) -> None:
        self._capacity = capacity
        self._answers: dict[str, _Answer] = {}
        self._running: dict[str, asyncio.Task[_Answer]] = {}
        self._slow: set[str] = set()  # names whose lookup exceeded PATIENCE_S and is still running

    def known(self, host: str) -> Sequence[Address]:
        """Return what :meth:`addresses` would without waiting: a numeric address, or a fresh answer; else nothing."""
        literal = _literal(host)
        if literal is not None:
            return (literal,)
        answer = self._answers.get(host)
        return () if answer is None or answer.until_ns <= clock.now_ns() else answer.addresses

    async def addresses(self, host: str) -> Sequence[Address]:
        """Return the addresses of ``host``, families alternating (RFC 8305 section 4), the system's first choice first.

        Once a name has been resolved, a call takes at most :data:`PATIENCE_S`, whatever happens to the name servers.

        Raises:
            OSError: the name cannot be resolved and never was since this process started, or every address it resolves
                to is one that must never be called.
        """
        literal = _literal(host)
        if literal is not None:
            return (literal,)
        answer = self._answers.get(host)
        if answer is None or answer.until_ns <= clock.now_ns():
            task = self._running.get(host)
            if task is None:
                task = asyncio.get_running_loop().create_task(self._look_up(host))
                self._running[host] = task
                task.add_done_callback(lambda _: self._ended(host))
            if answer is None or not answer.addresses:
                # shield: one caller's deadline must not cancel the lookup that others wait for
                answer = await asyncio.shield(task)
            elif host not in self._slow:
                await asyncio.wait((task,), timeout=PATIENCE_S)
                if task.done():
                    answer = task.result()
                else:
                    self._slow.add(host)
        if not answer.addresses:
            raise answer.error or OSError(f"{host} has no addresses")
        return answer.addresses

    def _ended(self, host: str) -> None:
        self._running.pop(host, None)
        self._slow.discard(host)

    async def _look_up(self, host: str) -> _Answer:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except OSError as error:
            old = self._answers.get(host)
            local = out_of_descriptors()  # then the look-up failed for want of one, and says nothing about the name
            retry_ns = clock.now_ns() + (0 if local else RETRY_NS)
            answer = _Answer(old.addresses if old is not None else (), retry_ns, local or error)
        else:
            allowed = _allowed(_alternate(found))
            refused = None if allowed else OSError(f"{host} resolves to an address that must not be called")
            answer = _Answer(allowed, clock.now_ns() + KEEP_NS, refused)
        if len(self._answers) >= self._capacity and host not in self._answers:
            del self._answers[min(self._answers, key=lambda name: self._answers[name].until_ns)]
        self._answers[host] = answer
        return answer


def _literal(host: str) -> Address | None:
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return Address(socket.AF_INET6 if address.version == 6 else socket.AF_INET, host)  # noqa: PLR2004


def _allowed(addresses: Sequence[Address]) -> tuple[Address, ...]:
    return tuple(address for address in addresses if not forbidden(address.host))


def _alternate(found: Sequence[tuple[int, int, int, str, tuple[object, ...]]]) -> tuple[Address, ...]:
    unique = list(dict.fromkeys(Address(socket.AddressFamily(family), str(where[0])) for family, *_, where in found))
    if not unique:
        return ()
    first = [address for address in unique if address.family == unique[0].family]
    other = [address for address in unique if address.family != unique[0].family]
    return tuple(address for address in chain.from_iterable(zip_longest(first, other)) if address is not None)
