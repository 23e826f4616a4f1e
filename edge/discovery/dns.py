"""Addresses in DNS: A and AAAA records of a name, or SRV records and the addresses of the hosts that they name.

The system's ``getaddrinfo`` returns neither SRV records nor times to live, so dnspython asks the name servers. A name
is asked again when the shortest of its records expires. Where one of several questions fails, its last answer stays,
and the source as a whole counts as failing.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import dns.asyncresolver
import dns.exception
import dns.resolver

from edge import clock as real
from edge.discovery.source import Source, SourceError
from edge.terms.places import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.clock import Clock
    from edge.config import discovery

# Records of a service mesh have a TTL of 0 to 5 s; without a floor, a TTL of 0 would ask without pause.
SHORTEST_S: Final = 1.0
LONGEST_S: Final = 300.0
# How soon a question that failed, or had an empty answer, is asked again.
RETRY_S: Final = 5.0
# A name server that drops packets is asked several times within this.
PATIENCE_S: Final = 5.0
# SRV records with more hosts than this are a mistake; each of them costs two questions.
MOST_HOSTS: Final = 1000
AT_ONCE: Final = 16
# RFC 2782: a weight of 0 is to be chosen very seldom where others have more.
_LIGHTEST: Final = 0.1


class DnsSource(Source):
    """Follows ``dns://`` and ``dns+srv://``."""

    def __init__(
        self,
        source: discovery.Source,
        changed: Callable[[str, tuple[Endpoint, ...]], None],
        known: tuple[Endpoint, ...] = (),
        clock: Clock = real,
    ) -> None:
        super().__init__(source.url, changed, known, clock)
        self._source = source
        self._answers: dict[tuple[str, str], list[str]] = {}  # the last good answers of hosts, by name and type
        self._hosts: list[tuple[int, int, int, str]] = []
        self._broken = ""
        self._ttl_s = LONGEST_S

    async def _follow(self) -> None:
        self._ttl_s, self._broken = LONGEST_S, ""
        resolver = self._resolver()
        name = self._source.name
        if self._source.kind == "dns":
            addresses = await self._addresses(resolver, name)
            found = [Endpoint(address, int(self._source.port), name=name.rstrip(".")) for address in addresses]
        else:
            found = await self._services(resolver, name)
        if self._broken and not found:
            raise SourceError(self._broken)
        self.take(found, self._broken or ("" if found else f"{name} has no addresses"))
        if self._broken or not found:
            self._ttl_s = min(self._ttl_s, RETRY_S)
        # Early rather than late, so that the nodes of a fleet do not ask in step.
        await self._clock.sleep(max(SHORTEST_S, self._ttl_s) * (0.9 + self._clock.random() / 10))

    def _resolver(self) -> Any:
        server = self._source.server
        try:
            resolver = dns.asyncresolver.Resolver(configure=server is None)
        except dns.exception.DNSException as error:
            raise SourceError(f"the system's name servers are unknown: {error}") from error
        if server is not None:
            resolver.nameservers, resolver.port = [server[0]], server[1]
        resolver.lifetime = PATIENCE_S
        return resolver

    async def _services(self, resolver: Any, name: str) -> list[Endpoint]:
        answer = await self._ask(resolver, name, "SRV")
        if answer is not None:
            self._hosts = [
                (record.priority, record.weight, record.port, host)
                for record in answer
                if (host := record.target.to_text(omit_final_dot=True)) and record.port  # "." is: no such service
            ][:MOST_HOSTS]
        limit = asyncio.Semaphore(AT_ONCE)

        async def addresses(host: str) -> list[str]:
            async with limit:
                return await self._addresses(resolver, f"{host}.")

        names = list(dict.fromkeys(host for *_, host in self._hosts))
        found = dict(zip(names, await asyncio.gather(*map(addresses, names)), strict=True))
        self._answers = {key: held for key, held in self._answers.items() if key[0].rstrip(".") in found}
        ranks = {priority: rank for rank, priority in enumerate(sorted({host[0] for host in self._hosts}), start=1)}
        weightless = {priority: not any(h[1] for h in self._hosts if h[0] == priority) for priority in ranks}
        return [
            Endpoint(
                address,
                port,
                min(ranks[priority], 64),
                1.0 if weightless[priority] else max(weight, _LIGHTEST) / len(found[host]),
                name=host,
            )
            for priority, weight, port, host in self._hosts
            for address in found[host]
        ]

    async def _addresses(self, resolver: Any, name: str) -> list[str]:
        """Return the addresses of a host; of an address family that cannot be asked, the last ones."""
        kinds = ("A", "AAAA")
        answers = await asyncio.gather(*(self._ask(resolver, name, kind) for kind in kinds))
        for kind, answer in zip(kinds, answers, strict=True):
            if answer is not None:
                self._answers[name, kind] = [record.to_text() for record in answer]
        return [address for kind in kinds for address in self._answers.get((name, kind), ())]

    async def _ask(self, resolver: Any, name: str, kind: str) -> Any:
        """Return the records, none if there are none; None if the question failed, and then ``_broken`` says why."""
        try:
            answer = await resolver.resolve(name, kind, search=self._source.server is None)
        except dns.resolver.NoAnswer:
            return ()
        except dns.resolver.NXDOMAIN:
            return ()
        except (dns.exception.DNSException, OSError, EOFError) as error:
            self._broken = f"{kind} of {name}: {_sentence(error)}"
            return None
        self._ttl_s = min(self._ttl_s, answer.chaining_result.minimum_ttl)
        return answer


def _sentence(error: Exception) -> str:
    if isinstance(error, dns.resolver.LifetimeTimeout):
        return "no name server answers"
    if isinstance(error, dns.resolver.NoNameservers):
        return "every name server refuses or fails"
    return str(error) or type(error).__name__
