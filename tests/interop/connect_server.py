"""A server under test for connectconformance: Connect's reference server behind edge.

``python -m tests.interop.connect_server FOLDER REFERENCESERVER``. The suite sends a ServerCompatRequest on standard
input, behind its length in four bytes, and wants a ServerCompatResponse in the same form; SIGTERM ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import struct
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import trustme
from nodes import RunningNode

USE_TLS: Final = 4
"""Field of ServerCompatRequest."""
HOST, PORT, CERTIFICATE = 1, 2, 3
"""Fields of ServerCompatResponse."""
VERSION: Final = 2
HTTP_2: Final = 2


def fields_of(message: bytes) -> dict[int, int | bytes]:
    """Return the last value of each field of a protobuf message (numbers of varints, bytes of the rest)."""
    found: dict[int, int | bytes] = {}
    at = 0
    while at < len(message):
        key, at = varint(message, at)
        value, at = varint(message, at)
        if key & 7 == 0:
            found[key >> 3] = value
        elif key & 7 == 2:
            found[key >> 3] = message[at : at + value]
            at += value
        else:
            raise ValueError(f"field {key >> 3} has the wire type {key & 7}")
    return found


def varint(message: bytes, at: int) -> tuple[int, int]:
    """Read a varint; return it and where it ends."""
    value = shift = 0
    while True:
        value |= (message[at] & 127) << shift
        shift += 7
        at += 1
        if not message[at - 1] & 128:
            return value, at


def encoded(number: int) -> bytes:
    """Return a varint."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def response(port: int, certificate: bytes) -> bytes:
    """Return a ServerCompatResponse behind its length."""
    message = b"\x0a\x09127.0.0.1" + b"\x10" + encoded(port)
    if certificate:
        message += b"\x1a" + encoded(len(certificate)) + certificate
    return struct.pack(">I", len(message)) + message


async def main(folder: Path, server: str) -> None:
    """Start the reference server without TLS and edge in front of it; serve until SIGTERM."""
    frame = sys.stdin.buffer.read(4)
    asked = fields_of(sys.stdin.buffer.read(struct.unpack(">I", frame)[0]))
    uses_tls = bool(asked.get(USE_TLS))
    plain = b"".join(
        encoded(number << 3) + encoded(value)
        for number, value in asked.items()
        if isinstance(value, int) and number != USE_TLS
    )
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    process = await asyncio.create_subprocess_exec(
        server, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(struct.pack(">I", len(plain)) + plain)
        process.stdin.close()
        async with asyncio.timeout(20):
            size = struct.unpack(">I", await process.stdout.readexactly(4))[0]
            backend = fields_of(await process.stdout.readexactly(size))
        with tempfile.TemporaryDirectory(dir=folder) as name:
            config, certificate = configured(
                Path(name), uses_tls, f"127.0.0.1:{backend[PORT]}", asked.get(VERSION) == HTTP_2
            )
            async with RunningNode(Path(name), config, "--workers", "1") as edge:
                port = int(edge.url.rsplit(":", 1)[1])
                sys.stdout.buffer.write(response(port, certificate))
                sys.stdout.buffer.flush()
                await ended.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def configured(folder: Path, uses_tls: bool, target: str, http2: bool) -> tuple[dict[str, Any], bytes]:
    """Return the configuration of edge, and the certificate that clients have to trust (empty: none)."""
    listen: dict[str, Any] = {"address": "127.0.0.1:0"}
    certificate = b""
    if uses_tls:
        authority = trustme.CA()
        issued = authority.issue_cert("127.0.0.1", "localhost")
        issued.private_key_pem.write_to_path(folder / "key.pem")
        for pem in issued.cert_chain_pems:
            pem.write_to_path(folder / "cert.pem", append=True)
        listen["tls"] = {"cert": str(folder / "cert.pem"), "key": str(folder / "key.pem")}
        certificate = authority.cert_pem.bytes()
    # the cases answer with every status on purpose, in larger numbers than a healthy service does
    breaker = {"consecutive_failures": 100_000, "min_requests": 100_000}
    service = {"match": {"path": "/"}, "protocol": "h2c" if http2 else "http1", "targets": [target], "breaker": breaker}
    services = {"connect": service}
    return {"listen": [listen], "services": services}, certificate


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
