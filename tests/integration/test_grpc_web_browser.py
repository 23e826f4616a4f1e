"""The grpc-web client from npm calls a service through edge, from a page in a real browser."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from aiohttp import web
from browser import CHROMIUM, MISSING, Browser
from one_data_plane import one_data_plane

from edge.sim.service import ServiceSpec, SimService
from edge.wire.edge.sim.v1 import service_pb2

pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason=MISSING), pytest.mark.prove]
PACKAGE = "grpc-web@2.1.1"
FOLDER = Path(__file__).parents[2] / "build" / "npm"
CLIENT = FOLDER / "node_modules" / "grpc-web" / "index.js"
NPM = shutil.which("npm")
PAGE = """<!doctype html><title>calls</title><script>var exports = {}, module = {exports};</script>
<script src="/client.js"></script><script>
const grpc = Object.keys(module.exports).length ? module.exports : exports;
const write = name => Uint8Array.from([10, name.length, ...new TextEncoder().encode(name)]);
const read = bytes => new TextDecoder().decode(bytes.slice(2));
const method = (name, type) => new grpc.MethodDescriptor(
  '/helloworld.Greeter/' + name, type, Object, Object, write, read);
const unary = method('SayHello', grpc.MethodType.UNARY);
const stream = method('SayHelloStreamReply', grpc.MethodType.SERVER_STREAMING);
const told = error => ({code: error.code, message: error.message});
const client = format => new grpc.GrpcWebClientBase({format});
const call = (edge, format, name, metadata) => client(format)
  .unaryCall(edge + unary.getName(), name, metadata, unary).then(text => ({text}), told);
const collect = (edge, format, name) => new Promise(done => {
  const texts = [];
  let status = null;
  const calls = client(format).serverStreaming(edge + stream.getName(), name, {}, stream);
  calls.on('data', text => texts.push(text));
  calls.on('status', each => status = each.code);
  calls.on('error', error => done({texts, ...told(error)}));
  calls.on('end', () => done({texts, code: status}));
});
</script>"""


@pytest.fixture
def client_js() -> str:
    """The client's script, installed from npm once."""
    if not CLIENT.exists():
        if NPM is None:
            pytest.skip(f"npm is not installed, so that {PACKAGE} cannot be: apt-get install npm")
        FOLDER.mkdir(parents=True, exist_ok=True)
        arguments = ("install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(FOLDER), PACKAGE)
        done = subprocess.run([NPM, *arguments], capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            pytest.skip(f"npm cannot install {PACKAGE}: {done.stderr[-200:]}")
    return CLIENT.read_text()


async def test_calls_from_a_page(tmp_path: Path, client_js: str) -> None:
    """Unary and streamed calls, in binary and text, give messages, a status of the service, and one of edge."""
    app = web.Application()

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    async def script(_: web.Request) -> web.Response:
        return web.Response(text=client_js, content_type="text/javascript")

    app.router.add_get("/", page)
    app.router.add_get("/client.js", script)
    app.router.add_get("/favicon.ico", page)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with SimService(ServiceSpec(name="s")) as sim:
            text = f"""
services: {{greeter: {{match: {{grpc: helloworld.Greeter}}, targets: ["{sim.address}"]}}}}
listen: [{{address: "127.0.0.1:0", cors: ["{origin}"]}}]
"""
            async with one_data_plane(text) as data_plane, Browser(tmp_path) as browser:
                await browser.go(origin)
                await browser.until("collect")
                greeting = "Hello page, from s"
                for form in ("text", "binary"):
                    said = await browser.js(f"call('{data_plane.url}', '{form}', 'page', {{'x-mine': '1'}})")
                    assert said == {"text": greeting}
                streamed = await browser.js(f"collect('{data_plane.url}', 'text', 'page')")
                assert (streamed["texts"], streamed.get("code", 0) or 0) == ([greeting] * 3, 0)

                await sim.switch(service_pb2.Fault(status=9, message="not now"))
                said = await browser.js(f"call('{data_plane.url}', 'text', 'page', {{}})")
                assert said == {"code": 9, "message": "not now"}
                await sim.switch(service_pb2.Fault(status=8, message="enough", after=1))
                streamed = await browser.js(f"collect('{data_plane.url}', 'text', 'page')")
                assert (streamed["texts"], streamed["code"]) == ([greeting], 8)

                await sim.stop()
                said = await browser.js(f"call('{data_plane.url}', 'text', 'page', {{}})")
                assert said["code"] == 14
                assert browser.problems == []
    finally:
        await runner.cleanup()
