"""Addresses of a Kubernetes service: its EndpointSlices, listed once and then watched through the API server.

The credentials are those that Kubernetes mounts into each pod, read anew for each request because the token rotates.
The account needs ``list`` and ``watch`` of ``endpointslices`` in the namespace (docs/discovery.md has the role). A
watch ends after some minutes by itself and goes on from its last resource version, which bookmarks move forward; when
the server has forgotten that version (410 Gone), the slices are listed again.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import msgspec

from edge import clock as real
from edge.config.files import read_file
from edge.discovery.slices import endpoints_in
from edge.discovery.source import Source, SourceError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from edge.clock import Clock
    from edge.config import discovery
    from edge.terms.places import Endpoint

ACCOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
"""Where Kubernetes mounts a pod's credentials; EDGE_KUBERNETES_ACCOUNT names another folder."""

PATIENCE_S: Final = 10.0
# The server ends a watch after this; a bookmark comes about once a minute, so a silence of twice that is a broken one.
WATCH_S: Final = 300
SILENCE_S: Final = 120.0
PAGE: Final = 500
# What changes within this is told together, because each time all slices are read through.
GATHER_S: Final = 0.1
# A slice has at most 1000 endpoints of about 1 KiB each.
LONGEST_EVENT: Final = 8 * 1024 * 1024
LONGEST_LIST: Final = 64 * 1024 * 1024
_GONE: Final = 410
_OK: Final = 200


class _GoneError(Exception):
    """The server has forgotten the resource version: list again."""


class KubernetesSource(Source):
    """Follows ``k8s://NAMESPACE/SERVICE:PORT``."""

    def __init__(
        self,
        source: discovery.Source,
        changed: Callable[[str, tuple[Endpoint, ...]], None],
        known: tuple[Endpoint, ...] = (),
        *,
        zone: str = "",
        environ: Mapping[str, str] = os.environ,
        clock: Clock = real,
    ) -> None:
        super().__init__(source.url, changed, known, clock)
        self._source = source
        self._zone = zone
        self._environ = environ
        self._account = Path(environ.get("EDGE_KUBERNETES_ACCOUNT", ACCOUNT))
        self._slices: dict[str, Any] = {}
        self._version = ""

    async def _follow(self) -> None:
        host, port = self._environ.get("KUBERNETES_SERVICE_HOST"), self._environ.get("KUBERNETES_SERVICE_PORT", "443")
        if not host:
            raise SourceError("KUBERNETES_SERVICE_HOST is not set: this node does not run in a Kubernetes cluster")
        base = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
        path = f"{base}/apis/discovery.k8s.io/v1/namespaces/{self._source.namespace}/endpointslices"
        connector = aiohttp.TCPConnector(ssl=self._context())
        try:
            async with aiohttp.ClientSession(connector=connector) as session:
                if not self._version:
                    await self._list(session, path)
                await self._watch(session, path)
        except _GoneError:
            self._version = ""
        except (aiohttp.ClientError, OSError) as error:
            raise SourceError(f"the API server does not answer: {error or type(error).__name__}") from error
        except TimeoutError as error:
            raise SourceError(f"the API server does not answer within {PATIENCE_S:g} s") from error

    def _context(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=str(self._account / "ca.crt"))
        except (OSError, ssl.SSLError) as error:
            raise SourceError(f"{self._account / 'ca.crt'} cannot be used: {error}") from error

    def _fields(self) -> dict[str, str]:
        try:
            token = read_file(self._account / "token", 64 * 1024).decode().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SourceError(f"the token {self._account / 'token'} cannot be read") from error
        return {"authorization": f"Bearer {token}", "accept": "application/json"}

    def _query(self, **more: str) -> dict[str, str]:
        return {"labelSelector": f"kubernetes.io/service-name={self._source.name}", **more}

    async def _list(self, session: aiohttp.ClientSession, path: str) -> None:
        slices: dict[str, Any] = {}
        more, size, version = "", 0, ""
        while True:
            query = self._query(limit=str(PAGE), **({"continue": more} if more else {}))
            async with asyncio.timeout(PATIENCE_S), session.get(path, params=query, headers=self._fields()) as response:
                _refuse(response.status)
                body = b""
                while size + len(body) <= LONGEST_LIST and (part := await response.content.readany()):
                    body += part
            size += len(body)
            if size > LONGEST_LIST:
                raise SourceError(f"the list of EndpointSlices has more than {LONGEST_LIST} bytes")
            page = _object(body)
            meta = page.get("metadata") or {}
            slices |= {_name(item): item for item in page.get("items") or ()}
            version, more = str(meta.get("resourceVersion", "")), str(meta.get("continue") or "")
            if not more:
                break
        self._slices, self._version = slices, version
        self._tell()

    async def _watch(self, session: aiohttp.ClientSession, path: str) -> None:
        query = self._query(
            watch="1", resourceVersion=self._version, allowWatchBookmarks="true", timeoutSeconds=str(WATCH_S)
        )
        limits = aiohttp.ClientTimeout(total=None, sock_connect=PATIENCE_S, sock_read=SILENCE_S)
        async with session.get(path, params=query, headers=self._fields(), timeout=limits) as response:
            _refuse(response.status)
            self._tell()  # the server answers again, if it did not
            async for lines in _lines(response.content):
                changed = [self._event(_object(line)) for line in lines]
                if any(changed):
                    self._tell()
                    await self._clock.sleep(GATHER_S)
        await self._clock.sleep(GATHER_S)  # a server that ends every watch at once must not be asked without pause

    def _event(self, event: dict[str, Any]) -> bool:
        """Apply an event; return whether it changed a slice."""
        kind, item = event.get("type"), event.get("object")
        if not isinstance(item, dict):
            raise SourceError("an event of the API server has no object")
        if kind == "ERROR":
            if item.get("code") == _GONE:
                raise _GoneError
            self._version = ""
            raise SourceError(f"the API server ended the watch: {item.get('message', 'no reason given')}")
        self._version = str((item.get("metadata") or {}).get("resourceVersion", self._version))
        if kind in ("ADDED", "MODIFIED"):
            self._slices[_name(item)] = item
        elif kind == "DELETED":
            self._slices.pop(_name(item), None)
        else:  # a bookmark: nothing has changed up to its version
            self.confirm()
            return False
        return True

    def _tell(self) -> None:
        source = self._source
        name = f"{source.name}.{source.namespace}.svc"
        self.take(endpoints_in(self._slices.values(), port=source.port, zone=self._zone, name=name))


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[list[bytes]]:
    """Yield the lines of a stream as they come, several together, each of bounded length."""
    held = b""
    while part := await content.readany():
        *whole, held = (held + part).split(b"\n")
        if whole:
            yield [line for line in whole if line.strip()]
        if len(held) > LONGEST_EVENT:
            raise SourceError(f"an event of the API server has more than {LONGEST_EVENT} bytes")


def _refuse(status: int) -> None:
    if status == _GONE:
        raise _GoneError
    if status != _OK:
        remedy = "; give the service account list and watch of endpointslices" if status in (401, 403) else ""
        raise SourceError(f"the API server answers {status}{remedy}")


def _object(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise SourceError(f"the API server's answer is not JSON: {error}") from error


def _name(item: Any) -> str:
    return str((item.get("metadata") or {}).get("name", ""))
