"""A real Chromium for tests of the page, driven over its DevTools protocol: ``async with Browser(folder)``."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import shutil
from typing import TYPE_CHECKING, Any, Self

import aiohttp

if TYPE_CHECKING:
    from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MISSING = "Chromium is not installed: apt-get install chromium lets the page be tested in a real browser"


class Browser:
    """One tab. ``problems`` collects errors of scripts, of the console, and of the content security policy."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self.problems: list[str] = []

    async def __aenter__(self) -> Self:
        assert CHROMIUM is not None
        self._process = await asyncio.create_subprocess_exec(
            CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--remote-debugging-port=0", f"--user-data-dir={self._folder}", "about:blank",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert self._process.stderr is not None
        async with asyncio.timeout(60):
            while b"DevTools listening on" not in (line := await self._process.stderr.readline()):
                assert line, "Chromium ended"
        port = line.decode().partition("127.0.0.1:")[2].partition("/")[0]
        self._client = aiohttp.ClientSession()
        async with self._client.get(f"http://127.0.0.1:{port}/json") as answer:
            tab = next(each for each in await answer.json() if each["type"] == "page")
        self._socket = await self._client.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0)
        self._reading = asyncio.create_task(self._read())
        for domain in ("Page", "Runtime", "Log"):
            await self.send(f"{domain}.enable")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        await self._process.communicate()
        await self._socket.close()
        await self._client.close()
        await asyncio.sleep(0)  # aiohttp closes its transports in the next turn of the loop

    async def _read(self) -> None:
        async for message in self._socket:
            event = json.loads(message.data)
            if "id" in event:
                self._answers.pop(event["id"]).set_result(event)
            elif event["method"] == "Runtime.exceptionThrown":
                self.problems.append(json.dumps(event["params"]["exceptionDetails"]))
            elif event["method"] == "Log.entryAdded" and event["params"]["entry"]["level"] == "error":
                self.problems.append(event["params"]["entry"]["text"])

    async def send(self, method: str, **given: Any) -> dict[str, Any]:
        """Call a method of the protocol; return its result."""
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": given})
        async with asyncio.timeout(30):
            event = await self._answers.get(number, asyncio.get_running_loop().create_future())
        assert "error" not in event, event
        return dict(event["result"])

    async def go(self, url: str) -> None:
        """Open an address."""
        await self.send("Page.navigate", url=url)

    async def js(self, expression: str) -> Any:
        """Return the value of an expression; a promise is awaited."""
        found = await self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def until(self, expression: str, limit_s: float = 20.0) -> None:
        """Wait until an expression is true in the page; animation frames drive it, not the clock of the test."""
        wait = (
            f"new Promise((done) => {{ const look = () => {{ let is = false; try {{ is = ({expression}) }} catch {{}} "
            "if (is) done(true); else requestAnimationFrame(look); }; look(); })"
        )
        try:
            async with asyncio.timeout(limit_s):
                await self.js(wait)
        except TimeoutError:
            raise AssertionError(f"never true: {expression}: {await self.js('document.body.innerText')}") from None

    async def click(self, selector: str) -> None:
        """Click what a selector finds first."""
        await self.js(f"document.querySelector({json.dumps(selector)}).click()")

    async def write(self, text: str) -> None:
        """Type into what has the focus."""
        await self.send("Input.insertText", text=text)

    async def press(self, key: str, code: int) -> None:
        """Press and release a key."""
        for kind in ("keyDown", "keyUp"):
            more = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            await self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **more)

    async def picture(self, width: int, height: int, scheme: str) -> bytes:
        """Return a screenshot as PNG."""
        await self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        await self.js("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        found = await self.send("Page.captureScreenshot", format="png")
        return base64.b64decode(found["data"])
