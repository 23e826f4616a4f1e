"""Credentials of clouds and of OAuth 2.0, fetched from endpoints on loopback that behave, and from some that do not."""

from __future__ import annotations

import base64
import calendar
import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from issuer import rsa_key
from msgspec import structs
from token_endpoint import TokenEndpoint

from edge.cli.doctor_remote import of_remote
from edge.config.fields import Secret
from edge.config.schema import Config, Provider
from edge.config.schema_provider_auth import ProviderAuth
from edge.credentials import aws, azure, exchange, google
from edge.credentials.aws import bedrock_token
from edge.credentials.exchange import CredentialError
from edge.credentials.fetch import fetch
from edge.credentials.sigv4 import AwsKeys, Call, presigned, signed_fields

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NOW = float(calendar.timegm((2026, 11, 30, 12, 0, 0)))
LATER = dt.datetime.fromtimestamp(NOW + 1800, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
PAIR = ("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
"""The keys of AWS's own test suite for Signature Version 4."""


@pytest.fixture
async def endpoint() -> AsyncIterator[TokenEndpoint]:
    """An endpoint that answers."""
    async with TokenEndpoint() as running:
        yield running


def oauth2(endpoint: TokenEndpoint, **more: Any) -> ProviderAuth:
    """Return a client's auth."""
    given = {"token_url": f"{endpoint.url}/token", "client_id": "edge", "client_secret": Secret("a/secret:1")}
    return ProviderAuth("oauth2", **{**given, **more})


async def test_a_client_gets_a_token_by_its_secret(endpoint: TokenEndpoint) -> None:
    """The secret travels in the header alone, encoded as RFC 6749 says; scope and audience in the form."""
    grant = await fetch(oauth2(endpoint, scope="a b", audience="x"), {}, NOW)
    assert (grant.token, grant.expires) == ("secret-token-0000", NOW + 3600)
    ((method, path, headers, said),) = endpoint.asked
    assert (method, path) == ("POST", "/token")
    assert base64.b64decode(headers["authorization"].split()[1]) == b"edge:a%2Fsecret%3A1"
    assert said == {"grant_type": "client_credentials", "scope": "a b", "audience": "x"}
    assert grant.token not in repr(grant)


async def test_a_file_that_is_rotated_is_read_anew(endpoint: TokenEndpoint, tmp_path: Path) -> None:
    """Each fetch shows what the file holds then."""
    file = tmp_path / "token"
    auth = oauth2(endpoint, client_secret=Secret(), token_file=str(file))
    for text in ("first", "second"):
        file.write_text(f"{text}\n")
        await fetch(auth, {}, NOW)
    assert [said["client_assertion"] for _, _, _, said in endpoint.asked] == ["first", "second"]
    file.unlink()
    with pytest.raises(CredentialError, match="cannot be read"):
        await fetch(auth, {}, NOW)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (500, b"oops a/secret:1", "answers with status 500"),
        (400, b'{"Error": {"Code": "InvalidIdentityToken"}}', r"status 400 \(InvalidIdentityToken\)"),
        (401, b'{"error": "invalid_client", "error_description": "a/secret:1"}', r"status 401 \(invalid_client\)"),
        (302, b"", "answers with status 302"),
        (200, b"<html>", "does not answer with JSON"),
        (200, b"[" * 5000, "does not answer with JSON"),
        (200, b"[]", "without a usable access_token"),
        (200, b'{"access_token": "a\\r\\nb: c"}', "without a usable access_token"),
        (200, b'{"access_token": "t", "token_type": "mac"}', "another type"),
        (200, b'{"access_token": "t", "expires_in": -1}', "expired already"),
        (200, b'{"access_token": "t", "expires_in": 1e99}', "expired already"),
        (200, b'{"access_token": "t", "expires_in": "soon"}', "expired already"),
        (200, b" " * (300 * 1024), "sends more than 256 KiB"),
    ],
)
async def test_what_is_no_token_is_told_without_secrets(
    endpoint: TokenEndpoint, status: int, body: bytes, said: str
) -> None:
    """Each fault has a sentence that repeats nothing of what was sent."""
    endpoint.status, endpoint.body = status, body
    with pytest.raises(CredentialError, match=said) as refused:
        await fetch(oauth2(endpoint), {}, NOW)
    assert "secret" not in str(refused.value)


async def test_a_slow_endpoint_is_left(endpoint: TokenEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait is bounded."""
    monkeypatch.setattr(exchange, "LIMIT_S", 0.05)
    endpoint.slow_s = 5
    with pytest.raises(CredentialError, match="does not answer within"):
        await fetch(oauth2(endpoint), {}, NOW)


@pytest.mark.parametrize("url", ["http://tokens.example/t", "http://169.254.169.254/t", "http://metadata/t", "ftp://x"])
async def test_no_secret_goes_where_it_could_be_read(url: str) -> None:
    """Not over plain HTTP to another machine, and not to a metadata service."""
    with pytest.raises(CredentialError):
        await fetch(ProviderAuth("oauth2", token_url=url, client_id="a", client_secret=Secret("b")), {}, NOW)


async def test_azure(endpoint: TokenEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By secret, by the federated token of the environment, by managed identity of a machine and of App Service."""
    secret = ProviderAuth("azure_ad", tenant="t", client_id="c", client_secret=Secret("s"))
    environ = {"AZURE_AUTHORITY_HOST": endpoint.url + "/"}
    await fetch(secret, environ, NOW)
    (tmp_path / "federated").write_text("proof")
    pod = {"AZURE_TENANT_ID": "pt", "AZURE_CLIENT_ID": "pc", "AZURE_FEDERATED_TOKEN_FILE": str(tmp_path / "federated")}
    await fetch(ProviderAuth("azure_ad"), environ | pod, NOW)
    monkeypatch.setattr(azure, "MACHINE", f"{endpoint.url}/metadata/identity/oauth2/token")
    await fetch(ProviderAuth("azure_ad", client_id="user-assigned"), {}, NOW)
    first, second, third = ((path, headers, said) for _, path, headers, said in endpoint.asked)
    assert first[0] == "/t/oauth2/v2.0/token"
    assert (first[2]["client_secret"], first[2]["scope"]) == ("s", azure.SCOPE)
    assert second[0] == "/pt/oauth2/v2.0/token"
    assert (second[2]["client_id"], second[2]["client_assertion"]) == ("pc", "proof")
    assert (third[1]["metadata"], third[2]["client_id"]) == ("true", "user-assigned")
    assert third[2]["resource"] == "https://cognitiveservices.azure.com"
    endpoint.body = json.dumps({"access_token": "app", "expires_on": str(int(NOW) + 60)}).encode()
    app = {"IDENTITY_ENDPOINT": f"{endpoint.url}/msi", "IDENTITY_HEADER": "h"}
    assert (await fetch(ProviderAuth("azure_ad"), app, NOW)).expires == NOW + 60
    assert endpoint.asked[-1][2]["x-identity-header"] == "h"
    with pytest.raises(CredentialError, match="not an address of this machine"):
        await fetch(ProviderAuth("azure_ad"), {**app, "IDENTITY_ENDPOINT": "http://10.0.0.1/msi"}, NOW)


async def test_google_by_a_service_account(
    endpoint: TokenEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The assertion is signed with the account's key; a file that names another server than Google's gets nothing."""
    key = rsa_key()
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    account = {
        "type": "service_account",
        "client_email": "edge@p.iam.gserviceaccount.com",
        "private_key": pem,
        "private_key_id": "k1",
        "token_uri": f"{endpoint.url}/token",
    }
    file = tmp_path / "account.json"
    file.write_text(json.dumps(account))
    auth = ProviderAuth("google", credentials=str(file))
    with pytest.raises(CredentialError, match="not one of Google's"):
        await fetch(auth, {}, NOW)
    assert endpoint.asked == []
    monkeypatch.setattr(google, "is_googles", lambda host, *, tls: host == "127.0.0.1")
    assert (await fetch(auth, {}, NOW)).token == "secret-token-0000"
    said = endpoint.asked[0][3]
    claims = jwt.decode(
        said["assertion"],
        key.public_key(),
        ["RS256"],
        audience=account["token_uri"],
        options={"verify_exp": False, "verify_iat": False},
    )
    assert (claims["iss"], claims["scope"], claims["exp"] - claims["iat"]) == (
        account["client_email"],
        google.SCOPE,
        3600,
    )
    for broken in ({**account, "private_key": "x"}, {**account, "type": "other"}, {"type": "service_account"}, []):
        file.write_text(json.dumps(broken))
        with pytest.raises(CredentialError):
            await fetch(auth, {}, NOW)


async def test_google_by_an_external_account_and_by_metadata(
    endpoint: TokenEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A subject token is exchanged, and then used for a service account; metadata must show its flavour."""
    monkeypatch.setattr(google, "is_googles", lambda host, *, tls: host == "127.0.0.1")

    async def account(request: web.Request) -> web.Response:
        assert request.headers["authorization"] == "Bearer secret-token-0000"
        return web.json_response({"accessToken": "of-account", "expireTime": LATER})

    endpoint.answers["/account"] = account
    (tmp_path / "subject").write_text(json.dumps({"id": "subject"}))
    file = tmp_path / "external.json"
    file.write_text(
        json.dumps(
            {
                "type": "external_account",
                "audience": "//iam.googleapis.com/x",
                "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
                "token_url": f"{endpoint.url}/sts",
                "service_account_impersonation_url": f"{endpoint.url}/account",
                "credential_source": {
                    "file": str(tmp_path / "subject"),
                    "format": {"type": "json", "subject_token_field_name": "id"},
                },
            }
        )
    )
    grant = await fetch(ProviderAuth("google"), {"GOOGLE_APPLICATION_CREDENTIALS": str(file)}, NOW)
    assert (grant.token, grant.expires) == ("of-account", NOW + 1800)
    assert endpoint.asked[0][3]["subject_token"] == "subject"
    monkeypatch.setattr(google, "MACHINE", f"{endpoint.url}/computeMetadata")
    with pytest.raises(CredentialError, match="not the metadata service"):
        await fetch(ProviderAuth("google"), {}, NOW)

    async def metadata(_request: web.Request) -> web.Response:
        said = {"access_token": "of-machine", "expires_in": 60, "token_type": "Bearer"}
        return web.json_response(said, headers={"Metadata-Flavor": "Google"})

    endpoint.answers["/computeMetadata"] = metadata
    assert (await fetch(ProviderAuth("google"), {}, NOW)).token == "of-machine"
    assert endpoint.asked[-1][2]["metadata-flavor"] == "Google"


def test_signatures_are_those_that_aws_has_published() -> None:
    """A presigned request of the S3 manual, ListUsers of the general reference, and what botocore makes for Bedrock."""
    manual = AwsKeys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    call = Call("GET", "examplebucket.s3.amazonaws.com", "/test.txt", "us-east-1", "s3", "UNSIGNED-PAYLOAD")
    query = presigned(call, manual, {}, calendar.timegm((2013, 5, 24, 0, 0, 0)), 86400)
    assert query.endswith("Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404")
    users = signed_fields(
        Call("GET", "iam.amazonaws.com", "/", "us-east-1", "iam"),
        AwsKeys(*PAIR),
        {"Action": "ListUsers", "Version": "2010-05-08"},
        {"content-type": "application/x-www-form-urlencoded; charset=utf-8"},
        calendar.timegm((2015, 8, 30, 12, 36, 0)),
    )
    assert users["authorization"].endswith("5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7")
    for session, signature in (
        ("", "94a765310af576b957d6a91269109fcab5aaa795b37365bd1c7d3ffd5acca3a4"),
        ("SESSION/token+==", "78cfa3d035ca41cb191772858b14b10bd9faa10a51925c28ce4d904b18e0456b"),
    ):
        token = bedrock_token(AwsKeys(*PAIR, session), "eu-west-1", NOW).token
        url = base64.b64decode(token.removeprefix("bedrock-api-key-")).decode()
        assert url.startswith("bedrock.amazonaws.com/?Action=CallWithBearerToken&X-Amz-Algorithm=AWS4-HMAC-SHA256&")
        assert url.endswith(f"Signature={signature}&Version=1")
        assert PAIR[1] not in url


async def test_where_aws_keys_come_from(
    endpoint: TokenEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Environment, profile with a role, web identity, container, and machine by IMDSv2, in AWS's order."""
    monkeypatch.setattr(aws, "STS", endpoint.url + "/sts-{region}/")
    monkeypatch.setattr(aws, "MACHINE", endpoint.url)
    temporary = {"AccessKeyId": "ASIATEMP", "SecretAccessKey": "s", "Token": "session", "Expiration": LATER}

    async def sts(request: web.Request) -> web.Response:
        action = {**request.query, **(await request.post())}["Action"]
        keys = {"AccessKeyId": "ASIASTS", "SecretAccessKey": "s", "SessionToken": "x", "Expiration": NOW + 900}
        return web.json_response({f"{action}Response": {f"{action}Result": {"Credentials": keys}}})

    async def session(request: web.Request) -> web.Response:
        assert request.headers["X-aws-ec2-metadata-token-ttl-seconds"] == "300"
        return web.Response(text="imds-session", status=200 if request.method == "PUT" else 405)

    async def role(request: web.Request) -> web.Response:
        assert request.headers["X-aws-ec2-metadata-token"] == "imds-session"
        return web.Response(text="edge-role") if request.path.endswith("/") else web.json_response(temporary)

    async def container(request: web.Request) -> web.Response:
        assert request.headers["authorization"] == "pod"
        return web.json_response(temporary)

    credentials = "/latest/meta-data/iam/security-credentials/"
    endpoint.answers |= {"/sts-eu-west-1/": sts, "/latest/api/token": session, "/pod": container}
    endpoint.answers |= {credentials: role, f"{credentials}edge-role": role}
    home = {"HOME": str(tmp_path)}
    auth = ProviderAuth("aws_sigv4", region="eu-west-1")

    async def key(auth: ProviderAuth, **environ: str) -> tuple[str, float]:
        signs = await fetch(auth, home | environ, NOW)
        assert signs.token == ""
        assert signs.signing is not None
        assert (signs.signing.region, signs.signing.service) == ("eu-west-1", "bedrock")
        assert signs.signing.expires in (0, signs.expires)  # keys without an end are fetched again after 12 hours
        assert "AKIA" not in repr(signs)
        grant = await fetch(structs.replace(auth, type="bedrock_key"), home | environ, NOW)
        assert grant.signing is None
        url = base64.b64decode(grant.token.removeprefix("bedrock-api-key-")).decode()
        assert url.partition("X-Amz-Credential=")[2].partition("%2F")[0] == signs.signing.access
        return signs.signing.access, signs.expires - NOW

    assert await key(auth, AWS_ACCESS_KEY_ID="AKIAENV", AWS_SECRET_ACCESS_KEY="s") == ("AKIAENV", 43200)
    assert await key(auth) == ("ASIATEMP", 1800)  # of the machine
    full = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{endpoint.url}/pod", "AWS_CONTAINER_AUTHORIZATION_TOKEN": "pod"}
    assert await key(auth, **full) == ("ASIATEMP", 1800)
    with pytest.raises(CredentialError, match="not an address of this machine"):
        await key(auth, AWS_CONTAINER_CREDENTIALS_FULL_URI="http://10.0.0.1/pod")
    (tmp_path / "web").write_text("proof")
    irsa = {"AWS_ROLE_ARN": "arn:aws:iam::1:role/edge", "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "web")}
    assert await key(auth, **irsa) == ("ASIASTS", 900)
    assert endpoint.asked[-1][3]["WebIdentityToken"] == "proof"
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/credentials").write_text("[base]\naws_access_key_id = AKIABASE\naws_secret_access_key = s\n")
    (tmp_path / ".aws/config").write_text("[profile r]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = base\n")
    assert await key(auth, AWS_PROFILE="base") == ("AKIABASE", 43200)
    assert await key(ProviderAuth("aws_sigv4", region="eu-west-1", profile="r")) == ("ASIASTS", 900)
    assert endpoint.asked[-1][2]["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIABASE/")
    with pytest.raises(CredentialError, match="no profile"):
        await key(auth, AWS_PROFILE="none")


async def test_a_machine_that_does_not_answer(endpoint: TokenEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """IMDSv2 alone is asked. Its first answer may not leave the machine, so the sentence names the hop limit."""
    monkeypatch.setattr(aws, "MACHINE", endpoint.url)
    monkeypatch.setattr(exchange, "LIMIT_S", 0.05)
    endpoint.slow_s = 5
    with pytest.raises(CredentialError, match=r"does not answer within .*hop limit"):
        await fetch(ProviderAuth("aws_sigv4", region="eu-west-1"), {"HOME": "/nonexistent"}, NOW)
    assert [(method, path) for method, path, _, _ in endpoint.asked] == [("PUT", "/latest/api/token")]


ENVIRON = {"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "s"}


@pytest.mark.parametrize(
    ("region", "environ", "said"),
    [
        ("", ENVIRON, "needs a region"),
        ("eu-west-1", {"AWS_ACCESS_KEY_ID": "A/b", "AWS_SECRET_ACCESS_KEY": "s"}, "that a request cannot carry"),
        (
            "eu-west-1",
            {"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "x\r\nhost: y"},
            "that a request cannot carry",
        ),
        ("", {**ENVIRON, "AWS_REGION": "eu-west-1\r\nhost: y"}, "is not a region of AWS"),
        ("", {**ENVIRON, "AWS_DEFAULT_REGION": "x" * 65}, "is not a region of AWS"),
        ("", {**ENVIRON, "AWS_REGION": "evil.test/#"}, "is not a region of AWS"),
    ],
)
async def test_aws_keys_that_cannot_be_used(region: str, environ: dict[str, str], said: str) -> None:
    """Each has a sentence, which repeats nothing of them."""
    with pytest.raises(CredentialError, match=said):
        await fetch(ProviderAuth("aws_sigv4", region=region), environ, NOW)


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("eu-west-1", "sts.eu-west-1.amazonaws.com"),
        ("cn-north-1", "sts.cn-north-1.amazonaws.com.cn"),
        ("eusc-de-east-1", "sts.eusc-de-east-1.amazonaws.eu"),
    ],
)
async def test_which_sts_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, region: str, host: str) -> None:
    """That of the region, in the domain that it has."""
    asked: list[str] = []

    async def send(_: object, _method: str, url: str, *_rest: object) -> bytes:
        asked.append(url)
        return b"{}"

    monkeypatch.setattr(exchange.Exchange, "send", send)
    (tmp_path / "web").write_text("proof")
    irsa = {"AWS_ROLE_ARN": "arn:aws:iam::1:role/edge", "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "web")}
    with pytest.raises(CredentialError, match="answers without keys"):
        await fetch(ProviderAuth("aws_sigv4", region=region), irsa, NOW)
    assert asked == [f"https://{host}/"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"Expiration": "inf"},
        {"Expiration": "nan"},
        {"Expiration": 1e300},
        {"AccessKeyId": 7},
        {"SecretAccessKey": None},
        {"SessionToken": ["x"]},
    ],
    ids=str,
)
async def test_what_sts_says_is_checked(
    endpoint: TokenEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, object]
) -> None:
    """Workers get texts and a time that they can hold, whatever the service answers."""
    monkeypatch.setattr(aws, "STS", endpoint.url + "/sts-{region}/")
    keys = {"AccessKeyId": "ASIASTS", "SecretAccessKey": "s", "SessionToken": "x", "Expiration": NOW + 900}

    async def sts(_request: web.Request) -> web.Response:
        result = {"AssumeRoleWithWebIdentityResult": {"Credentials": keys | wrong}}
        return web.json_response({"AssumeRoleWithWebIdentityResponse": result})

    endpoint.answers["/sts-eu-west-1/"] = sts
    (tmp_path / "web").write_text("proof")
    irsa = {"AWS_ROLE_ARN": "arn:aws:iam::1:role/edge", "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "web")}
    with pytest.raises(CredentialError, match="answers without keys"):
        await fetch(ProviderAuth("aws_sigv4", region="eu-west-1"), irsa, NOW)


async def test_doctor_names_what_keeps_a_token_away(endpoint: TokenEndpoint) -> None:
    """The cause and the section to look at; the provider itself is not blamed for it."""
    endpoint.status, endpoint.body = 401, b'{"error": "invalid_client"}'
    providers = {"p": Provider(base_url="http://127.0.0.1:9/v1", auth=oauth2(endpoint))}
    findings = [each for each in await of_remote(Config(providers=providers)) if each.level == "fault"]
    assert [(each.subject, "invalid_client" in each.sentence) for each in findings] == [("token of provider p", True)]
    assert "providers.p.auth" in findings[0].remedy
