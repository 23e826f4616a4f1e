"""Another region's edge is recognised by its certificate alone, and other certificates of the same CA are not."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import hashlib
import json
import ssl
from typing import TYPE_CHECKING

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from nodes import RunningNode
from one_data_plane import one_data_plane, post, whole
from soon import until
from test_regions_forward import ask
from test_services import request, services
from wires import over_http2

from edge.listen.server import bind
from edge.native import RouteCounter, WorkerCounter
from edge.sim.asked import Pace
from edge.sim.provider import ProviderSpec, SimProvider
from edge.sim.wire import Again, ReadMessage, ScriptedServer, Send

if TYPE_CHECKING:
    from pathlib import Path

KEY = "ek-0123456789abcdef0123"
TOKEN = "a-token-of-all-regions"
BODY = b'{"model":"chat","messages":[{"role":"user","content":"hi"}]}'
NAMES = 'allowed_names: ["*.Edge.internal", "spiffe://edge.internal/eu"]'
FROM_A = b"x-edge-hops: a\r\nx-edge-key-name: theirs\r\nx-edge-priority: low\r\n"
WITH_KEY = f"authorization: Bearer {KEY}\r\n".encode()
UNKNOWN = (401, "missing_api_key")
BOTH_WIRES = pytest.mark.parametrize("wire", ["http/1.1", "h2"])


class Authority:
    """A CA for edges and other clients, with its files in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._authority = trustme.CA()
        self._authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        self._authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(folder / "b.pem"))

    def write(self, name: str) -> str:
        """Write a certificate for a name or a URI, with its key; return the file's name."""
        file = f"client-{len(list(self.folder.iterdir()))}.pem"
        if "://" in name:
            (self.folder / file).write_bytes(self._for_uri(name))
        else:
            issued = self._authority.issue_cert(name)
            issued.private_key_and_cert_chain_pem.write_to_path(str(self.folder / file))
        return file

    def client(self, name: str, wire: str) -> ssl.SSLContext:
        """Return a client context with such a certificate, or without one."""
        tls = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        tls.set_alpn_protocols([wire])
        if name:
            tls.load_cert_chain(self.folder / self.write(name))
        return tls

    def _for_uri(self, uri: str) -> bytes:
        issuer = x509.load_pem_x509_certificate(self._authority.cert_pem.bytes())
        signer = serialization.load_pem_private_key(self._authority.private_key_pem.bytes(), None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        key = ec.generate_private_key(ec.SECP256R1())
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(issuer.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(issuer.not_valid_before_utc)
            .not_valid_after(issuer.not_valid_before_utc + dt.timedelta(days=36500))
            .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=True)
            .sign(signer, hashes.SHA256())
        )
        return made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """The CA of a listener's ``client_ca``."""
    return Authority(tmp_path)


def config(
    region: str,
    url: str,
    peers: str,
    listen: str = 'address: "127.0.0.1:0", tls: {cert: b.pem, key: b.pem, client_ca: ca.pem}',
    more: str = "",
) -> str:
    """Return one region without anonymous callers, with these ``peers`` and listener settings."""
    return f"""
node: {{region: {region}, name: {region}-1}}
listen: [{{{listen}}}{more}]
providers: {{own: {{base_url: "{url}/v1", api_key: sk-of-{region}}}}}
models: {{chat: {{targets: [own/sim-small]}}}}
keys: [{{name: ours, sha256: {hashlib.sha256(KEY.encode()).hexdigest()}}}]
telemetry: {{sample: 100%}}
peers: {{{peers}}}
"""


def provider() -> SimProvider:
    """A provider that answers at once."""
    return SimProvider(ProviderSpec(pace=Pace(ttft_s=0.001, tps=5000, tokens=2)))


async def answer(reader: asyncio.StreamReader) -> bytes:
    """Return an answer of known length."""
    head = await reader.readuntil(b"\r\n\r\n")
    size = next(int(line.split()[1]) for line in head.splitlines() if line.startswith(b"content-length:"))
    return head + await reader.readexactly(size)


async def told(port: int, tls: ssl.SSLContext, wire: str, fields: bytes) -> tuple[int, str]:
    """Return status and ``error.code`` (or "") of an answer, over a new connection."""
    data = post(BODY, fields=fields + b"connection: close\r\n")
    if wire == "h2":
        received = (await over_http2(port, data, None, 15, tls)).received
    else:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
        with contextlib.closing(writer):
            async with asyncio.timeout(15):
                writer.write(data)
                received = await answer(reader)
    status, body = int(received.split()[1]), received.partition(b"\r\n\r\n")[2]
    return status, "" if status == 200 else json.loads(body)["error"]["code"]


@BOTH_WIRES
@pytest.mark.parametrize("name", ["eu-1.edge.internal", "spiffe://edge.internal/eu"])
async def test_an_edge_is_known_by_its_certificate(authority: Authority, name: str, wire: str) -> None:
    """An edge needs neither key nor token; its hops, caller and class are trusted."""
    async with provider() as own, one_data_plane(config("b", own.url, NAMES), authority.folder) as data_plane:
        tls = authority.client(name, wire)
        assert await told(data_plane.port, tls, wire, FROM_A) == (200, "")
        (record,) = await data_plane.recorded(1)
        assert (record.hops, record.key, record.priority) == (1, "theirs", "low")
        assert record.http_version == (20 if wire == "h2" else 11)
        assert await told(data_plane.port, tls, wire, b"x-edge-hops: a,b\r\n") == (503, "peer_loop")
        assert await told(data_plane.port, tls, wire, b"x-edge-hops: a,c,d\r\n") == (503, "peer_loop")
        assert data_plane.shared_state.read_worker(0)["counts"][WorkerCounter.W_HOPS_REFUSED] == 2


@BOTH_WIRES
@pytest.mark.parametrize(
    "name", ["client.test", "edge.internal", "a.b.edge.internal", "*.edge.internal", "spiffe://edge.internal/eu/1"]
)
async def test_others_of_the_same_authority_are_clients(authority: Authority, name: str, wire: str) -> None:
    """The owner of another certificate needs a key, and is served by that key alone."""
    async with provider() as own, one_data_plane(config("b", own.url, NAMES), authority.folder) as data_plane:
        tls = authority.client(name, wire)
        assert await told(data_plane.port, tls, wire, FROM_A) == UNKNOWN
        # without a token in the configuration an empty one, or any other, proves nothing
        for token in (b"", b"undefined", TOKEN.encode()):
            assert await told(data_plane.port, tls, wire, FROM_A + b"x-edge-peer-token: " + token + b"\r\n") == (
                401,
                "missing_api_key",
            )
        assert await told(data_plane.port, tls, wire, WITH_KEY + b"x-edge-hops: b\r\nx-edge-key-name: theirs\r\n") == (
            200,
            "",
        )
        await until(lambda: any(each.status == 200 for each in data_plane.records))
        record = next(each for each in data_plane.records if each.status == 200)
        assert (record.hops, record.key, record.priority) == (0, "ours", "normal")


@BOTH_WIRES
async def test_an_edge_that_does_not_speak_as_one_is_a_client(authority: Authority, wire: str) -> None:
    """A request of an edge without hops is an ordinary client's, and needs a key."""
    async with provider() as own, one_data_plane(config("b", own.url, NAMES), authority.folder) as data_plane:
        tls = authority.client("eu-1.edge.internal", wire)
        assert await told(data_plane.port, tls, wire, b"x-edge-key-name: theirs\r\n") == UNKNOWN
        assert await told(data_plane.port, tls, wire, WITH_KEY) == (200, "")


async def test_a_certificate_that_nobody_asked_for_proves_nothing(authority: Authority) -> None:
    """A listener without client_ca verifies no certificate, even if another listener of the node does."""
    unasked = 'address: "127.0.0.1:0", tls: {cert: b.pem, key: b.pem}'
    asked = ', {address: "127.0.0.1:0", tls: {cert: b.pem, key: b.pem, client_ca: ca.pem}}'
    text = config("b", "http://127.0.0.1:9", NAMES, unasked, asked)
    async with one_data_plane(text, authority.folder) as data_plane:
        tls = authority.client("eu-1.edge.internal", "http/1.1")
        assert await told(data_plane.port, tls, "http/1.1", FROM_A) == UNKNOWN


async def test_who_shows_no_certificate_is_not_heard(authority: Authority) -> None:
    """TLS refuses a client without a certificate, or with one of another CA."""
    (authority.folder / "elsewhere").mkdir()
    stranger = Authority(authority.folder / "elsewhere")
    async with one_data_plane(config("b", "http://127.0.0.1:9", NAMES), authority.folder) as data_plane:
        strange = authority.client("", "http/1.1")
        strange.load_cert_chain(stranger.folder / stranger.write("eu-1.edge.internal"))
        for tls in (authority.client("", "http/1.1"), strange):
            with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
                await told(data_plane.port, tls, "http/1.1", FROM_A)
        assert data_plane.shared_state.read_worker(0)["counts"][WorkerCounter.W_REQUESTS] == 0


async def test_token_and_names_are_each_enough(authority: Authority) -> None:
    """An edge is recognised by its token or by its certificate, for a gradual migration."""
    text = config("b", "", f'{NAMES}, token: "{TOKEN}"')
    async with (
        provider() as own,
        one_data_plane(text.replace('"/v1"', f'"{own.url}/v1"'), authority.folder) as data_plane,
    ):
        edge, other = "eu-1.edge.internal", "old.test"
        for name, token in ((edge, b""), (edge, b"wrong"), (other, TOKEN.encode())):
            fields = FROM_A + b"x-edge-peer-token: " + token + b"\r\n"
            assert await told(data_plane.port, authority.client(name, "h2"), "h2", fields) == (200, "")
        assert await told(data_plane.port, authority.client(other, "h2"), "h2", FROM_A) == UNKNOWN


async def test_other_names_hold_for_connections_that_are_open(authority: Authority) -> None:
    """A reload that changes the names applies to the next request, on old connections too."""
    async with provider() as own, one_data_plane(config("b", own.url, NAMES), authority.folder) as data_plane:
        tls = authority.client("eu-1.edge.internal", "http/1.1")
        reader, writer = await asyncio.open_connection("127.0.0.1", data_plane.port, ssl=tls)

        async def status() -> int:
            async with asyncio.timeout(15):
                writer.write(b"GET /v1/models HTTP/1.1\r\nhost: edge\r\nx-edge-hops: a\r\n\r\n")
                return int((await answer(reader)).split()[1])

        with contextlib.closing(writer):
            assert await status() == 200
            for names, expected in (
                ("allowed_names: [us-1.edge.internal]", 401),
                (NAMES, 200),
                (f'token: "{TOKEN}"', 401),
            ):
                text = config("b", own.url, names)
                for file in ("ca.pem", "b.pem"):
                    text = text.replace(f": {file}", f": {authority.folder / file}")
                await data_plane.swap(text)
                assert await status() == expected


@pytest.mark.parametrize(("name", "answered"), [("eu-1.edge.internal", True), ("client.test", False)])
async def test_a_region_answers_another_without_a_token(authority: Authority, name: str, answered: bool) -> None:
    """Over HTTP/2 with mutual TLS only, an edge with the right name is served by another region."""
    own = authority.write(name)
    with bind("127.0.0.1", 0) as held:
        port = held.getsockname()[1]
        listen = f'address: "127.0.0.1:{port}", tls: {{cert: b.pem, key: b.pem, client_ca: ca.pem}}'
        peers = (
            f'{NAMES}, nodes: [{{region: b, addresses: ["127.0.0.1:{port}"]}}], '
            f"tls: {{ca: ca.pem, cert: {own}, key: {own}}}"
        )
        near_listens = ', {address: "127.0.0.1:0", tls: {cert: b.pem, key: b.pem, client_ca: ca.pem}}'
        calls = config("a", "http://127.0.0.1:9", peers, 'address: "127.0.0.1:0"', near_listens)
        async with (
            provider() as theirs,
            one_data_plane(config("b", theirs.url, peers, listen), authority.folder) as far,
            one_data_plane(calls, authority.folder) as near,
        ):
            status, fields, body = await ask(near, BODY, WITH_KEY)
            assert (status, fields["x-edge-region"]) == ((200, "b") if answered else (503, "a")), body
            route = far.snapshot.routes[far.snapshot.models["chat"]].slot
            assert far.shared_state.read_route(route)["counts"][RouteCounter.R_REQUESTS] == answered
            if answered:
                (record,) = await far.recorded(1)
                assert (record.hops, record.key) == (1, "ours")


async def test_no_service_hears_hops_of_a_client() -> None:
    """An edge that is called as a service does not trust hops that a client wrote."""
    async with ScriptedServer((ReadMessage(), Send(whole()), Again())) as upstream:
        async with one_data_plane(services(upstream.address)) as data_plane:
            assert (await data_plane.ask(request(fields=FROM_A), b"}")).startswith(b"HTTP/1.1 200 ")
        assert b"x-edge-hops" not in upstream.peers[0].received.lower()
        assert b"x-edge-priority" not in upstream.peers[0].received.lower()


async def test_a_whole_node_knows_an_edge_by_its_certificate(authority: Authority) -> None:
    """The configured names reach the workers, which use them."""
    files = {"cert": "b.pem", "key": "b.pem", "client_ca": "ca.pem"}
    async with provider() as own:
        text = {
            "listen": [{"address": "127.0.0.1:0", "tls": files}],
            "providers": {"own": {"base_url": f"{own.url}/v1", "api_key": "sk-own"}},
            "models": {"chat": {"targets": ["own/sim-small"]}},
            "keys": [{"name": "ours", "sha256": hashlib.sha256(KEY.encode()).hexdigest()}],
            "peers": {"allowed_names": ["*.edge.internal"]},
        }
        async with RunningNode(authority.folder, text, "--workers", "1") as node:
            port = int(node.url.rpartition(":")[2])
            edge, other = (authority.client(name, "h2") for name in ("eu-1.edge.internal", "client.test"))
            assert await told(port, edge, "h2", FROM_A) == (200, "")
            assert await told(port, other, "h2", FROM_A) == UNKNOWN
