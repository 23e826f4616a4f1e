"""Mutated HTTP/2 and TLS against the server's side in one process: no fault, no exception, and nothing is left behind.

Sockets, reactor, TLS, HTTP/2 and HTTP/1.1 are compiled anew under AddressSanitizer and UBSan. ``EDGE_FUZZ_HTTP2`` and
``EDGE_FUZZ_TLS`` say how many connections are made; where EDGE_FUZZ_SECONDS are over before that, the test fails.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import trustme

from tests.native.fuzzing import SECONDS, build

if TYPE_CHECKING:
    from pathlib import Path

COUNTS = {
    "http2": int(os.environ.get("EDGE_FUZZ_HTTP2", "4000000")),
    "tls": int(os.environ.get("EDGE_FUZZ_TLS", "300000")),
}
SCRIPT = """
import json, os, sys, time
from hpack import Encoder
from hyperframe.frame import *
from edge.terms.snapshot import Listener
from native.http import wire_fuzz
from native.http.listen_policy import ListenPolicy
from native.io.tls import TlsContext
kind, executions, seconds, seed = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
assert wire_fuzz.__file__.startswith(os.getcwd())
class Loop:
    faults = []
    def call_exception_handler(self, what): self.faults.append(repr(what))
    def add_reader(self, fd, call): pass
    def remove_reader(self, fd): pass
    def call_soon(self, call, *arguments): pass
def head(stream, *more, flags=("END_HEADERS",)):
    pairs = [(":method", "POST"), (":scheme", "http"), (":authority", "edge"), (":path", "/a"), *more]
    return HeadersFrame(stream, data=Encoder().encode(pairs), flags=list(flags))
block = Encoder().encode([(":method", "GET"), (":scheme", "http"), (":authority", "e"), (":path", "/")])
frames = [b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n" + SettingsFrame().serialize()]
for stream in (1, 3, 5):
    frames += [frame.serialize() for frame in (
        head(stream), head(stream, flags=("END_HEADERS", "END_STREAM")), head(stream, ("content-length", "3")),
        head(stream, ("x-a", "b" * 300)), head(stream, ("expect", "100-continue")), HeadersFrame(stream, data=block),
        ContinuationFrame(stream, data=b"\\x82", flags=["END_HEADERS"]),
        DataFrame(stream, b"abc", flags=["END_STREAM"]), DataFrame(stream, b"abc"), DataFrame(stream, b"x" * 900),
        DataFrame(stream, b"", flags=["PADDED"], pad_length=3), RstStreamFrame(stream, error_code=8),
        WindowUpdateFrame(stream, window_increment=1), WindowUpdateFrame(stream, window_increment=2**31 - 1),
        HeadersFrame(stream, data=Encoder().encode([("x-sum", "1")]), flags=["END_HEADERS", "END_STREAM"]),
        PriorityFrame(stream, depends_on=0, stream_weight=3),
    )]
frames += [frame.serialize() for frame in (
    SettingsFrame(flags=["ACK"]), SettingsFrame(settings={4: 0}), SettingsFrame(settings={4: 2**31 - 1, 1: 0}),
    PingFrame(opaque_data=b"12345678"), WindowUpdateFrame(0, window_increment=9), GoAwayFrame(0, last_stream_id=0),
)]
tokens = [bytes([n]) for n in (0, 1, 4, 5, 8, 0x7F, 0x80, 0x82, 0xFF)]
tokens += [b"\\0\\0\\0", b"\\xff\\xff\\xff", b"\\0\\x40\\0", *frames[1:]]
server = client = None
if kind == "tls":
    server, client = TlsContext(True, [b"h2", b"http/1.1"]), TlsContext(False, [b"h2"])
    server.load_identity("edge.pem", None)
    server.share_tickets(b"s" * 32, b"")
    client.load_authorities("ca.pem", None)
    client.verify_peer(True)
loop = Loop()
policy = ListenPolicy(Listener("127.0.0.1", 1, (), "", True, False, (), (), (), False, 0, 0))
fuzzer = wire_fuzz.Fuzzer(loop, policy, server, client)
began = time.monotonic()
done, kept, slots = fuzzer.run(frames, tokens, executions, seconds, seed)
took = time.monotonic() - began
print(json.dumps([done, took, kept, slots, fuzzer.served.opened, fuzzer.served.malformed, loop.faults[:10]]))
"""


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A copy of the server's side, built for the fuzzer, and the environment that it runs in."""
    copy = tmp_path_factory.mktemp("fuzzer")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(copy / "ca.pem"))
    authority.issue_cert("edge.test").private_key_and_cert_chain_pem.write_to_path(str(copy / "edge.pem"))
    return copy, build(copy, "wire_fuzz.pyx", "http")


@pytest.mark.prove
@pytest.mark.timeout(SECONDS + 1800)
@pytest.mark.parametrize("kind", COUNTS)
def test_mutated_connections(fuzzer: tuple[Path, dict[str, str]], kind: str) -> None:
    """As many connections as a quarter of an hour allows, guided by coverage: requests among them, and refusals."""
    copy, environment = fuzzer
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, kind, str(COUNTS[kind]), str(SECONDS), "1"],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
    done, took, kept, slots, opened, malformed, faults = json.loads(ended.stdout)
    seen = f"{kind}: {done} at {done / took:.0f} a second, {opened} requests, {kept} inputs kept, coverage {slots}"
    sys.stdout.write(seen + "\n")
    assert faults == []
    assert done >= COUNTS[kind], f"the time was over: {seen}; EDGE_FUZZ_SECONDS allows more"
    assert opened > done // 20, seen
    assert malformed > done // 100, seen
