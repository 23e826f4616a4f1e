"""A DNS server on loopback, over UDP, whose zone a test changes while it runs."""

from __future__ import annotations

import asyncio
from typing import Self

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset


class NameServer(asyncio.DatagramProtocol):
    """Answers from ``zone``: (name, type) -> records as text. ``address`` is ``127.0.0.1:PORT`` while entered.

    ``refuse`` maps (name, type) to a response code; ``silent`` lets every question go unanswered.
    """

    def __init__(self) -> None:
        self.zone: dict[tuple[str, str], list[str]] = {}
        self.refuse: dict[tuple[str, str], dns.rcode.Rcode] = {}
        self.silent = False
        self.ttl = 0
        self.asked: list[tuple[str, str]] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self.address = "127.0.0.1:{}".format(self._transport.get_extra_info("sockname")[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer one question."""
        query = dns.message.from_wire(data)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        asked = (name, dns.rdatatype.to_text(question.rdtype))
        self.asked.append(asked)
        if self.silent:
            return
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.AA
        if asked in self.refuse:
            answer.set_rcode(self.refuse[asked])
        elif asked in self.zone:
            answer.answer.append(dns.rrset.from_text(question.name, self.ttl, "IN", asked[1], *self.zone[asked]))
        elif not any(known == name for known, _ in self.zone):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        self._transport.sendto(answer.to_wire(), addr)
