"""A Kubernetes API server for one resource: lists and watches of EndpointSlices, with bookmarks, 410 and restarts."""

from __future__ import annotations

import asyncio
import json
import ssl
from typing import TYPE_CHECKING, Any, Self

import trustme
from aiohttp import web

if TYPE_CHECKING:
    from pathlib import Path

PATH = "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"


def slice_of(name: str, *addresses: str, port: int = 8000, **more: Any) -> dict[str, Any]:
    """Return an EndpointSlice of ready endpoints; ``endpoints=[...]`` and ``ports=[...]`` replace them."""
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
        "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
        **more,
    }


class ClusterApi:
    """Serves ``slices`` over TLS to callers with ``token``; ``folder`` gets the files of a service account.

    It keeps the last ``history`` changes: a watch from an older version is answered with 410, as a real server does
    after a compaction. ``page`` bounds a page of a list.
    """

    def __init__(self, folder: Path, *, history: int = 1000, page: int = 2) -> None:
        self._authority = trustme.CA()
        self._folder = folder
        self._history = history
        self._page = page
        self._log: list[tuple[int, dict[str, Any]]] = []
        self._version = 100
        self._slices: dict[str, dict[str, Any]] = {}
        self._changed = asyncio.Condition()
        self._watches: set[asyncio.Task[Any] | None] = set()
        self.token = "token-1"
        self.lists = 0
        self.watches: list[str] = []
        self.port = 0

    @property
    def environ(self) -> dict[str, str]:
        """What Kubernetes sets in a pod."""
        return {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self.port),
            "EDGE_KUBERNETES_ACCOUNT": str(self._folder),
        }

    async def __aenter__(self) -> Self:
        self._authority.cert_pem.write_to_path(str(self._folder / "ca.crt"))
        self.write_token(self.token)
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def write_token(self, token: str) -> None:
        """Rotate the token that the server takes, and the file that holds it."""
        self.token = token
        (self._folder / "token").write_text(token + "\n")

    async def start(self) -> None:
        """Serve, after a restart on the same port."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert("127.0.0.1").configure_cert(context)
        app = web.Application()
        app.router.add_get(PATH, self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=context, reuse_address=True)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]

    async def stop(self) -> None:
        """Stop; every watch breaks."""
        self.end_watches()
        await self._runner.cleanup()

    def end_watches(self) -> None:
        """Break every watch."""
        for task in self._watches:
            if task is not None:
                task.cancel()

    async def put(self, item: dict[str, Any]) -> None:
        """Add or replace a slice."""
        name = item["metadata"]["name"]
        await self._change("MODIFIED" if name in self._slices else "ADDED", item)
        self._slices[name] = self._log[-1][1]["object"]

    async def remove(self, name: str) -> None:
        """Delete a slice."""
        await self._change("DELETED", self._slices.pop(name))

    async def bookmark(self) -> None:
        """Move the version of every watch forward, as changes of other objects do."""
        await self._change("BOOKMARK", {"metadata": {}})

    async def fail_watches(self, code: int) -> None:
        """Send an ERROR event to every watch."""
        async with self._changed:
            self._version += 1
            self._log.append((self._version, {"type": "ERROR", "object": {"code": code, "message": "expired"}}))
            self._log = self._log[-self._history :]
            self._changed.notify_all()

    def forget(self) -> None:
        """Compact: no version before the present one can be watched from any more."""
        self._log = []

    async def _change(self, kind: str, item: dict[str, Any]) -> None:
        async with self._changed:
            self._version += 1
            item = {**item, "metadata": {**item["metadata"], "resourceVersion": str(self._version)}}
            self._log.append((self._version, {"type": kind, "object": item}))
            self._log = self._log[-self._history :]
            self._changed.notify_all()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return web.json_response({"code": 401}, status=401)
        assert request.match_info["namespace"] == "shop"
        assert request.query["labelSelector"] == "kubernetes.io/service-name=web"
        return await (self._watch(request) if "watch" in request.query else self._list(request))

    async def _list(self, request: web.Request) -> web.Response:
        self.lists += 1
        begin = int(request.query.get("continue", 0))
        names = sorted(self._slices)
        meta = {"resourceVersion": str(self._version)}
        if len(names) > begin + self._page:
            meta["continue"] = str(begin + self._page)
        items = [self._slices[name] for name in names[begin : begin + self._page]]
        return web.json_response({"kind": "EndpointSliceList", "metadata": meta, "items": items})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        version = int(request.query["resourceVersion"])
        self.watches.append(request.query["resourceVersion"])
        assert request.query["allowWatchBookmarks"] == "true"
        oldest = self._log[0][0] if self._log else self._version + 1
        if version + 1 < oldest:
            return web.json_response({"code": 410, "reason": "Expired"}, status=410)
        response = web.StreamResponse()
        await response.prepare(request)
        task = asyncio.current_task()
        self._watches.add(task)
        try:
            while True:
                async with self._changed:
                    while not (fresh := [(at, event) for at, event in self._log if at > version]):
                        await self._changed.wait()
                for at, event in fresh:
                    version = at
                    await response.write(json.dumps(event).encode() + b"\n")
        finally:
            self._watches.discard(task)
