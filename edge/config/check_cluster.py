"""Checks of the section ``cluster``: addresses, files and credentials of the store, and encryption of the traffic."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from edge.config import addresses, check_network
from edge.config.problems import Path, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.config.schema import Config
    from edge.config.schema_cluster import Etcd

_PREFIX: Final = re.compile(r"(/[A-Za-z0-9._-]+)+")


def cluster(config: Config) -> Iterator[Problem]:
    """Check the store's addresses, files and credentials."""
    etcd = config.cluster.etcd
    if etcd is None:
        return
    path: Path = ("cluster", "etcd")
    members: list[addresses.BaseUrl] = []
    if not etcd.endpoints:
        yield Problem((*path, "endpoints"), "it is empty; write at least one member, such as https://10.0.0.1:2379")
    for index, text in enumerate(etcd.endpoints):
        place: Path = (*path, "endpoints", index)
        try:
            member = addresses.parse_member(text)
        except ValueError as error:
            yield Problem(place, str(error))
            continue
        yield from _member(place, text, member)
        if member in members:
            yield Problem(place, f"{text} is listed twice; remove one")
        members.append(member)
    if not _PREFIX.fullmatch(etcd.prefix):
        sentence = f"{etcd.prefix!r} is not a prefix; write one such as /edge, with a slash before each part only"
        yield Problem((*path, "prefix"), sentence)
    yield from _identity(path, etcd, {member.tls for member in members})


def _member(place: Path, text: str, member: addresses.BaseUrl) -> Iterator[Problem]:
    why = addresses.forbidden(member.host)
    if why:
        yield Problem(place, f"{member.host} must not be called: {why}")
    if not member.tls and not addresses.is_loopback(member.host):
        sentence = f"{text} is not encrypted: anyone in between can read and change what edges share; write https"
        yield Problem(place, sentence, severity="warning")


def _identity(path: Path, etcd: Etcd, encrypted: set[bool]) -> Iterator[Problem]:
    for name, file in (("ca", etcd.ca), ("cert", etcd.cert), ("key", etcd.key)):
        yield from check_network.readable((*path, name), file)
        if file is not None and encrypted == {False}:
            yield Problem((*path, name), "it has no effect, because no endpoint uses https; write https://")
    if encrypted == {True, False}:
        yield Problem((*path, "endpoints"), "http and https are mixed; use one of them for all endpoints")
    if (etcd.cert is None) != (etcd.key is None):
        yield Problem(path, "cert and key belong together; write both or neither")
    if bool(etcd.user) != bool(etcd.password):
        yield Problem(path, "user and password belong together; write both or neither")
