"""Who may do what, as a list of reports: each test is a symptom that was met, with the behaviour that is right.

Web pages in front of a listener without keys, names and proxies, paths that servers read differently, and fields by
which a client claims to be somebody else.
"""

from __future__ import annotations

import struct

import pytest
from callers import bearer, clear, field, keys, status
from one_data_plane import models, one_data_plane, post, whole

from edge.native import WorkerCounter
from edge.sim.wire import Again, Close, ReadMessage, ReadToEnd, ReadUntil, ScriptedServer, Send, play_client

GOOD = (ReadMessage(), Send(whole()), Again())
PAGE = b"origin: https://evil.example\r\n"
APP = b"origin: https://app.example\r\n"
PREFLIGHT = b"access-control-request-method: POST\r\naccess-control-request-headers: authorization, x-own\r\n"


def listen(more: str = "") -> str:
    """Return configuration text of a loopback listener."""
    return f'\nlisten: [{{address: "127.0.0.1:0"{more}}}]\n'


def service(address: str, match: str = "path: /", name: str = "svc", protocol: str = "http1") -> str:
    """Return one service within ``services``."""
    return f"  {name}: {{match: {{{match}}}, targets: ['{address}'], protocol: {protocol}}}\n"


def chat(host: bytes = b"localhost", fields: bytes = b"") -> bytes:
    """Return a chat request under this Host."""
    return post(fields=fields).replace(b"host: localhost", b"host: " + host)


def ask(target: bytes = b"/", fields: bytes = b"", host: bytes = b"localhost", method: bytes = b"GET") -> bytes:
    """Return a request without a body."""
    return method + b" " + target + b" HTTP/1.1\r\nhost: " + host + b"\r\n" + fields + b"\r\n"


# --- web pages -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("both_wires")
@pytest.mark.parametrize(
    ("host", "fields", "more", "expected"),
    [
        (b"localhost", PAGE, "", 403),
        (b"localhost", b"origin: null\r\n", "", 403),
        (b"127.0.0.1:8080", b"origin: http://127.0.0.1.evil.example\r\n", "", 403),
        (b"localhost", b"origin: http://localhost:3000\r\norigin2: x\r\n", "", 200),
        (b"localhost", b"origin: http://[::1]:5173\r\n", "", 200),
        (b"rebound.example", b"", "", 403),
        (b"rebound.example", b"origin: http://rebound.example\r\n", "", 403),
        (b"localhost.evil.example", b"", "", 403),
        (b"2130706433", b"", "", 403),
        (b"127.0.0.1", b"", "", 200),
        (b"192.168.1.7:8080", b"", "", 200),
        (b"[::1]:8080", b"", "", 200),
        (b"LocalHost.", b"", "", 200),
        (b"Edge.Lan", b"origin: http://edge.lan\r\n", ", hosts: [edge.lan]", 200),
        (b"anything.example", b"", ", allow_anonymous: true", 200),
        (b"anything.example", b"origin: http://anything.example\r\n", ", allow_anonymous: true", 403),
        (b"localhost", APP, ', cors: ["https://app.example"]', 200),
        (b"localhost", PAGE, ', cors: ["https://app.example"]', 403),
    ],
)
async def test_any_web_page_spends_the_credit(host: bytes, fields: bytes, more: str, expected: int) -> None:
    """Without keys, pages of other origins and names that anybody can point at this machine are refused."""
    async with ScriptedServer(GOOD) as upstream, one_data_plane(models(upstream.url) + listen(more)) as data_plane:
        answer = await data_plane.ask(chat(host, fields), b"}")
        assert status(answer) == expected
        assert len(upstream.peers) == (expected == 200)
        if expected == 403:
            assert b"listen.cors" in answer or b"listen.hosts" in answer


@pytest.mark.usefixtures("both_wires")
async def test_a_health_check_under_any_name_is_answered() -> None:
    """Balancers check /healthz under names of their own, and nothing is spent by it."""
    async with one_data_plane(models("http://127.0.0.1:9") + listen()) as data_plane:
        assert status(await data_plane.ask(ask(b"/healthz", host=b"check.example"), b"}")) == 200


@pytest.mark.usefixtures("both_wires")
@pytest.mark.parametrize("keyed", [False, True])
async def test_a_preflight_fails_because_it_has_no_key(keyed: bool) -> None:
    """A page of ``cors`` gets its preflight answered before keys are asked for, and may read answers and errors."""
    async with ScriptedServer(GOOD) as upstream:
        text = models(upstream.url) + (keys(team="") if keyed else "") + listen(', cors: ["https://app.example"]')
        async with one_data_plane(text) as data_plane:
            asked = ask(b"/v1/chat/completions", APP + PREFLIGHT, method=b"OPTIONS")
            answer = await data_plane.ask(asked, b"\r\n\r\n")
            assert (status(answer), field(answer, "access-control-allow-origin")) == (204, "https://app.example")
            assert field(answer, "access-control-allow-headers") == "authorization, x-own"
            assert "POST" in (field(answer, "access-control-allow-methods") or "")
            assert upstream.peers == []
            good = await data_plane.ask(chat(fields=APP + (bearer("team") if keyed else b"")), b"}")
            assert (status(good), field(good, "access-control-allow-origin")) == (200, "https://app.example")
            bad = await data_plane.ask(ask(b"/v1/models/none", APP), b"}")
            assert (status(bad), field(bad, "access-control-allow-origin")) == (
                401 if keyed else 404,
                "https://app.example",
            )
            foreign = await data_plane.ask(asked.replace(b"app.example", b"evil.example"), b"}")
            assert (status(foreign), field(foreign, "access-control-allow-origin")) == (401 if keyed else 403, None)


@pytest.mark.usefixtures("both_wires")
async def test_a_services_own_page_calls_it() -> None:
    """The page of a service that is routed by its host is of the same origin, and a provider permits no page."""
    allows = whole().replace(b"\r\n\r\n", b"\r\naccess-control-allow-origin: *\r\n\r\n", 1)
    async with ScriptedServer((ReadMessage(), Send(allows), Again())) as upstream:
        text = models(upstream.url) + "services:\n" + service(upstream.address, "host: billing.internal") + listen()
        async with one_data_plane(text) as data_plane:
            own = b"origin: http://billing.internal\r\n"
            assert status(await data_plane.ask(ask(b"/x", own, b"billing.internal"), b"}")) == 200
            assert status(await data_plane.ask(ask(b"/x", PAGE, b"billing.internal"), b"}")) == 403
            assert field(await data_plane.ask(chat(), b"}"), "access-control-allow-origin") is None


# --- paths -----------------------------------------------------------------------------------------------------------

PASSED = [
    b"/npm/@scope%2fname",
    b"/npm/api/v4/projects/group%2Fproject/files/a%5Cb",
    b"/npm/api/queues/%2F/name",
    b"/n%70m/x",
    b"/npm/a//b",
    b"/npm/a/../b",
    b"/npm/x;v=1/y",
    b"/npm/caf%C3%A9%20x",
]
MISLEADING = [
    b"/npm/..%2fadmin/x",
    b"/npm/%2e%2e/admin/x",
    b"/npm/../admin/x",
    b"/npm/..;/admin/x",
    b"/npm/..%5Cadmin/x",
    b"/npm/..\\admin/x",
    b"/npm/a/../../x",
    b"//admin/x",
    b"/admin;v=1/x",
    b"/x/..%2Fadmin/x",
    b"/admin%2fx",
    b"/v1/chat%2Fcompletions",
]


@pytest.mark.usefixtures("both_wires")
@pytest.mark.parametrize("path", [*PASSED, *MISLEADING])
async def test_scoped_packages_fail_through_edge(path: bytes) -> None:
    """A path is matched decoded and forwarded as written; 400 only if another reading leads elsewhere."""
    async with ScriptedServer(GOOD) as npm, ScriptedServer(GOOD) as admin, ScriptedServer(GOOD) as rest:
        text = "services:\n" + service(npm.address, "path: /npm", "npm") + service(rest.address, "path: /", "rest")
        text += service(admin.address, "path: /admin", "admin")
        async with one_data_plane(text) as data_plane:
            answer = await data_plane.ask(ask(path), b"}")
            assert status(answer) == (200 if path in PASSED else 400)
            assert [len(server.peers) for server in (npm, admin, rest)] == [int(path in PASSED), 0, 0]
            if path in PASSED:
                assert npm.peers[0].received.startswith(b"GET " + path + b" HTTP/1.1\r\n")


@pytest.mark.usefixtures("both_wires")
async def test_a_full_host_name_is_another_host() -> None:
    """The dot that ends a full host name is no part of it."""
    async with ScriptedServer(GOOD) as upstream:
        text = "services:\n" + service(upstream.address, "host: billing.internal")
        async with one_data_plane(text) as data_plane:
            for host in (b"billing.internal.", b"Billing.Internal.:80"):
                assert status(await data_plane.ask(ask(host=host), b"}")) == 200


# --- fields that say who asks ----------------------------------------------------------------------------------------

CLAIMS = (
    b"x-forwarded-for: 6.6.6.6\r\nx-forwarded-proto: https\r\nx-forwarded-host: shop.example\r\n"
    b"x-forwarded-port: 443\r\nforwarded: for=6.6.6.6\r\nx-real-ip: 6.6.6.6\r\nx-edge-key-name: boss\r\n"
    b"x-edge-other: 1\r\nx-edge-require: eu\r\n"
)


async def received(more: str, fields: bytes, text: str = "") -> bytes:
    """Return what a service gets of a request with these fields, in lower case."""
    async with ScriptedServer(GOOD) as upstream:
        async with one_data_plane("services:\n" + service(upstream.address) + text + listen(more)) as data_plane:
            assert status(await data_plane.ask(ask(fields=fields), b"}")) == 200
        return upstream.peers[0].received.lower()


@pytest.mark.usefixtures("both_wires")
async def test_a_client_claims_another_address() -> None:
    """What a client says about itself is replaced, and what only edge may say is removed."""
    sent = await received("", CLAIMS)
    assert b"6.6.6.6" not in sent
    assert b"shop.example" not in sent
    for gone in (b"x-forwarded-port", b"x-real-ip", b"x-edge-key-name", b"x-edge-other"):
        assert gone not in sent
    for kept in (
        b"x-forwarded-for: 127.0.0.1",
        b"x-forwarded-proto: http",
        b"x-forwarded-host: localhost",
        b'forwarded: for=127.0.0.1;proto=http;host="localhost"',
        b"x-edge-require: eu",
    ):
        assert b"\r\n" + kept + b"\r\n" in sent


@pytest.mark.usefixtures("both_wires")
async def test_an_application_behind_a_tls_balancer_redirects_for_ever() -> None:
    """A proxy of ``trusted_proxies`` is believed: its fields pass, and the chain is extended."""
    sent = await received(", trusted_proxies: [127.0.0.0/8]", CLAIMS)
    for kept in (
        b"x-forwarded-for: 6.6.6.6, 127.0.0.1",
        b"x-forwarded-proto: https",
        b"x-forwarded-host: shop.example",
        b"x-forwarded-port: 443",
        b'forwarded: for=6.6.6.6, for=127.0.0.1;proto=http;host="localhost"',
    ):
        assert b"\r\n" + kept + b"\r\n" in sent
    assert b"x-real-ip" not in sent
    assert b"x-edge-key-name" not in sent
    other = await received(", trusted_proxies: [10.0.0.0/8, '::1']", CLAIMS)
    assert b"6.6.6.6" not in other


@pytest.mark.usefixtures("both_wires")
async def test_a_second_field_leaks_the_key_to_a_service() -> None:
    """Every field that holds a key of edge is removed, and a credential of the service passes."""
    fields = (
        bearer("team")
        + f"x-api-key: {clear('team')}\r\nx-goog-api-key: {clear('other')}\r\napi-key: the-services-own\r\n".encode()
    )
    sent = await received("", fields, keys(team="", other=""))
    assert b"edge-team" not in sent
    assert b"edge-other" not in sent
    assert b"\r\napi-key: the-services-own\r\n" in sent


async def test_a_service_gets_a_key_in_its_query() -> None:
    """A key in the query of a service is none: it would reach the service, which gets its query as it was written."""
    text = keys(team="")
    async with ScriptedServer(GOOD) as upstream:
        port = upstream.url.rpartition(":")[2]
        config = models(upstream.url, extra=text) + "\nservices:\n" + service(f"127.0.0.1:{port}")
        async with one_data_plane(config) as data_plane:
            answer = await data_plane.ask(ask(f"/x?key={clear('team')}".encode()), b"}}")
            assert status(answer) == 401
        assert upstream.peers == []


# --- PROXY protocol --------------------------------------------------------------------------------------------------

V2 = b"\r\n\r\n\x00\r\nQUIT\n\x21\x11" + struct.pack(">H", 20) + bytes([203, 0, 113, 9, 10, 0, 0, 1])
V2 += struct.pack(">HH", 5000, 443) + b"\x20\x00\x05\x01\x00\x00\x00\x00"
V1 = b"PROXY TCP4 203.0.113.9 10.0.0.1 5000 443\r\n"


@pytest.mark.usefixtures("both_wires")
@pytest.mark.parametrize(
    ("header", "more", "address", "proto"),
    [
        (V1, "", b"203.0.113.9", b"http"),
        (V2, "", b"203.0.113.9", b"https"),
        (V1, ", trusted_proxies: [127.0.0.1]", b"203.0.113.9", b"http"),
        (b"PROXY UNKNOWN\r\n", "", b"127.0.0.1", b"http"),
        (V1, ", trusted_proxies: [10.0.0.0/8]", None, None),
        (b"", "", None, None),
        (b"PROXY TCP4 nobody 10.0.0.1 5000 443\r\n", "", None, None),
        (V2[:13] + b"\x41" + V2[14:], "", None, None),
    ],
)
async def test_every_client_seems_to_be_the_balancer(
    header: bytes, more: str, address: bytes | None, proto: bytes | None
) -> None:
    """The PROXY header names the client, also byte by byte; without a sound one the connection is closed."""
    async with ScriptedServer(GOOD) as upstream:
        text = "services:\n" + service(upstream.address) + listen(", proxy_protocol: true" + more)
        async with one_data_plane(text) as data_plane:
            asked = Send(ask(fields=b"x-forwarded-for: 6.6.6.6\r\n"))
            if address is None or proto is None:
                peer = await play_client(data_plane.port, Send(header), asked, ReadToEnd(), limit_s=20)
                assert (peer.received, len(upstream.peers)) == (b"", 0)
                count = data_plane.shared_state.read_worker(0)["counts"][WorkerCounter.W_MALFORMED]
                assert count == 1  # or nobody could tell why a balancer's connections end
                return
            await play_client(data_plane.port, Send(header, 1), asked, ReadUntil(b"}"), Close(), limit_s=20)
            sent = upstream.peers[0].received.lower()
            assert b"\r\nx-forwarded-for: " + address + b"\r\n" in sent
            assert b"\r\nx-forwarded-proto: " + proto + b"\r\n" in sent


# --- names in JSON ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("both_wires")
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"model":"chat","Model":"dear"}', 400),
        ('{"MODEL":"dear","model":"chat"}', 400),
        ('{"model":"chat","\\u004dodel":"dear"}', 400),
        ('{"model":"chat","stream":false,"\u017ftream":true}', 400),
        ('{"model":"chat","max_tokens":1,"max_to\u212aens":100000}', 400),
        ('{"model":"chat","max_tokens":1,"max_to\\u212Aen\\u017f":100000}', 400),
        ('{"model":"chat","n":1,"N":128}', 400),
        ('{"model":"chat","n":1,"n":128}', 400),
        ('{"model":"chat","messages":[{"Model":"x","N":1}],"metadata":{"Stream":true}}', 200),
        ('{"model":"chat","n":1,"models":[],"name":"N","max_token":1,"\u017f":1,"nn":2}', 200),
    ],
)
async def test_an_upstream_in_go_reads_another_model(body: str, expected: int) -> None:
    """A name that differs from a guarded one by case alone, as Go folds it, makes a body ambiguous."""
    async with ScriptedServer(GOOD) as upstream, one_data_plane(models(upstream.url)) as data_plane:
        answer = await data_plane.ask(post(body.encode()), b"}")
        assert status(answer) == expected
        assert len(upstream.peers) == (expected == 200)
