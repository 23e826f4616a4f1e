"""AWS keys, and short-term API keys for Amazon Bedrock that they sign: a presigned request, in base64.

Workers sign each request with the keys (native/codec/sigv4), or send the API key, which control signs once for many
requests. Where the keys come from is AWS's own order: environment, profile, web identity (IRSA), container (Pod
Identity, ECS), machine (IMDSv2).
"""

from __future__ import annotations

import configparser
import datetime as dt
import re
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import msgspec

from edge.config.addresses import is_loopback, parse_link
from edge.config.effective import REGION, domain_of
from edge.credentials.exchange import CredentialError, Grant, secret_file
from edge.credentials.sigv4 import AwsKeys, Call, presigned, signed_fields
from edge.terms.credentials import Signing

if TYPE_CHECKING:
    from edge.config.schema_provider_auth import ProviderAuth
    from edge.credentials.exchange import Exchange

BEDROCK: Final = "bedrock.amazonaws.com"
LASTS_S: Final = 12 * 3600
LATEST: Final = 253_402_300_800
"""Unix time of the year 10000: no keys last until then."""
MACHINE = "http://169.254.169.254"
"""The Instance Metadata Service, at its own address."""

CONTAINER: Final = ("169.254.170.2", "169.254.170.23", "fd00:ec2::23")
STS = "https://sts.{region}.{domain}/"
_MACHINE_KEYS: Final = "/latest/meta-data/iam/security-credentials/"
_SESSION: Final = "edge"
_FROM_A_CONTAINER: Final = "; the machine answers containers only if its metadata hop limit is 2"
_CARRIED: Final = re.compile(r"[!-+\-.0-~]{1,128} [!-~]{1,256} [!-~]{0,16384}")
"""Access key (no comma and no slash: it stands before them), secret key, session token."""


async def fetch(exchange: Exchange, auth: ProviderAuth) -> Grant:
    """Return the keys that sign requests, or a token for Bedrock; both last 12 hours, and no longer than the keys.

    Keys without an end are fetched again after that time: a file with them may have been rotated.

    Raises:
        CredentialError: there are no keys, or they cannot be exchanged.
    """
    region = auth.region or exchange.environ.get("AWS_REGION") or exchange.environ.get("AWS_DEFAULT_REGION", "")
    if not region:
        raise CredentialError("AWS needs a region (region, or AWS_REGION)")
    if not REGION.fullmatch(region):
        raise CredentialError(
            f"{region[:64]!r} is not a region of AWS; write one such as eu-west-1 (region, or AWS_REGION)"
        )
    keys = await _keys(exchange, auth, region)
    if keys.expires and keys.expires <= exchange.now:
        raise CredentialError("the AWS keys have expired")
    if not _CARRIED.fullmatch(f"{keys.access} {keys.secret} {keys.session}"):
        raise CredentialError("the AWS keys have characters that a request cannot carry")
    if not auth.signs:
        return bedrock_token(keys, region, exchange.now)
    signing = Signing(region, auth.service or "bedrock", keys.access, keys.secret, keys.session, keys.expires)
    return Grant("", keys.expires or exchange.now + LASTS_S, signing)


def bedrock_token(keys: AwsKeys, region: str, now: float) -> Grant:
    """Return the short-term API key that these keys sign."""
    call = Call("POST", BEDROCK, "/", region, "bedrock")
    query = presigned(call, keys, {"Action": "CallWithBearerToken"}, now, LASTS_S)
    token = "bedrock-api-key-" + b64encode(f"{BEDROCK}/?{query}&Version=1".encode()).decode()
    return Grant(token, min(now + LASTS_S, keys.expires or now + LASTS_S))


async def _keys(exchange: Exchange, auth: ProviderAuth, region: str) -> AwsKeys:
    environ = exchange.environ
    role = auth.role or environ.get("AWS_ROLE_ARN", "")
    file = auth.token_file or environ.get("AWS_WEB_IDENTITY_TOKEN_FILE", "")
    profile = auth.profile or environ.get("AWS_PROFILE", "")
    access, secret = environ.get("AWS_ACCESS_KEY_ID", ""), environ.get("AWS_SECRET_ACCESS_KEY", "")
    if auth.token_file is None and not auth.profile and access and secret:
        keys = AwsKeys(access, secret, environ.get("AWS_SESSION_TOKEN", ""))
        return await _assumed(exchange, auth.role, keys, region) if auth.role else keys
    if profile:
        return await _of_profile(exchange, profile, auth.role, region)
    if file:
        if not role:
            raise CredentialError("a web identity needs a role (role, or AWS_ROLE_ARN)")
        token = secret_file(file, "the web identity token")
        fields = {"Action": "AssumeRoleWithWebIdentity", "RoleArn": role, "WebIdentityToken": token}
        return await _sts(
            exchange, {**fields, "RoleSessionName": environ.get("AWS_ROLE_SESSION_NAME", _SESSION)}, region
        )
    keys = await _of_profile_or_platform(exchange)
    return await _assumed(exchange, auth.role, keys, region) if auth.role else keys


async def _of_profile_or_platform(exchange: Exchange) -> AwsKeys:
    """Return the keys of the default profile, else those that the container or the machine has."""
    keys = _static(_profiles(exchange).get("default", {}))
    if keys is not None:
        return keys
    if exchange.environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI") or exchange.environ.get(
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
    ):
        return await _of_container(exchange)
    return await _of_machine(exchange)


async def _of_container(exchange: Exchange) -> AwsKeys:
    environ = exchange.environ
    url = environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI", "")
    url = url or f"http://{CONTAINER[0]}{environ['AWS_CONTAINER_CREDENTIALS_RELATIVE_URI']}"
    host = parse_link(url).host
    if host not in CONTAINER and not is_loopback(host):
        raise CredentialError("AWS_CONTAINER_CREDENTIALS_FULL_URI is not an address of this machine")
    file = environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "")
    token = secret_file(file, "the container's token") if file else environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")
    return _temporary(await exchange.machine("GET", url, {"authorization": token} if token else {}), "the container")


async def _of_machine(exchange: Exchange) -> AwsKeys:
    """Return the keys of this machine's role, by IMDSv2: a session first, which a forwarded request cannot open."""
    lasts = {"X-aws-ec2-metadata-token-ttl-seconds": "300"}
    try:
        opened = await exchange.machine("PUT", f"{MACHINE}/latest/api/token", lasts)
    except CredentialError as error:
        raise CredentialError(f"{error}{_FROM_A_CONTAINER}") from error
    session = opened.decode("ascii", "replace").strip()
    with_session = {"X-aws-ec2-metadata-token": session}
    name = (await exchange.machine("GET", MACHINE + _MACHINE_KEYS, with_session)).decode("utf-8", "replace").strip()
    if not name or not name.replace("-", "").replace("_", "").replace("+", "").replace(".", "").isalnum():
        raise CredentialError("this machine has no role")
    return _temporary(await exchange.machine("GET", f"{MACHINE}{_MACHINE_KEYS}{name}", with_session), "the machine")


async def _of_profile(exchange: Exchange, name: str, role: str, region: str) -> AwsKeys:
    profiles = _profiles(exchange)
    if name not in profiles:
        raise CredentialError(f"there is no profile {name} in AWS's files of this user")
    profile = profiles[name]
    role = role or profile.get("role_arn", "")
    source = profile.get("source_profile", name)
    keys = _static(profiles.get(source, {}))
    if keys is None:
        raise CredentialError(f"the profile {source} has no aws_access_key_id and aws_secret_access_key")
    return await _assumed(exchange, role, keys, region) if role else keys


def _profiles(exchange: Exchange) -> dict[str, dict[str, str]]:
    """Return the profiles of the files that AWS's tools write."""
    home = Path(exchange.environ.get("HOME", "/nonexistent")) / ".aws"
    files = (
        exchange.environ.get("AWS_CONFIG_FILE", str(home / "config")),
        exchange.environ.get("AWS_SHARED_CREDENTIALS_FILE", str(home / "credentials")),
    )
    found: dict[str, dict[str, str]] = {}
    for file in files:
        read = configparser.RawConfigParser()
        try:
            read.read(file)
        except (configparser.Error, OSError, UnicodeDecodeError) as error:
            raise CredentialError(f"{file} cannot be read: it is not a file of AWS's profiles") from error
        for section in read.sections():
            found.setdefault(section.removeprefix("profile ").strip(), {}).update(read[section])
    return found


def _static(profile: dict[str, str]) -> AwsKeys | None:
    access, secret = profile.get("aws_access_key_id", ""), profile.get("aws_secret_access_key", "")
    return AwsKeys(access, secret, profile.get("aws_session_token", "")) if access and secret else None


async def _assumed(exchange: Exchange, role: str, keys: AwsKeys, region: str) -> AwsKeys:
    fields = {"Action": "AssumeRole", "RoleArn": role, "RoleSessionName": _SESSION}
    return await _sts(exchange, fields, region, keys)


async def _sts(exchange: Exchange, fields: dict[str, str], region: str, keys: AwsKeys | None = None) -> AwsKeys:
    """Ask the Security Token Service; what is signed is signed with ``keys``."""
    url = STS.format(region=region, domain=domain_of(region))
    query = {**fields, "Version": "2011-06-15"}
    headers = {}
    if keys is None:
        said = await exchange.form(url, query, {"accept": "application/json"})
    else:
        call = Call("GET", _authority(url), "/", region, "sts")
        headers = signed_fields(call, keys, query, {"accept": "application/json"}, exchange.now)
        headers.pop("host")
        body = await exchange.send("GET", f"{url}?{urlencode(query)}".replace("+", "%20"), headers, None)
        said = _object(body, "AWS STS")
    try:
        found = said[f"{fields['Action']}Response"][f"{fields['Action']}Result"]["Credentials"]
        return _keys_of(found, "SessionToken", float(found["Expiration"]))
    except (KeyError, TypeError, ValueError) as error:
        raise CredentialError("AWS STS answers without keys") from error


def _keys_of(found: dict[str, Any], session: str, expires: float) -> AwsKeys:
    """Return temporary keys, whose token is called ``session`` there.

    Raises:
        KeyError, TypeError, ValueError: they are not such that workers can hold them.
    """
    access, secret, token = (found[name] for name in ("AccessKeyId", "SecretAccessKey", session))
    if not (isinstance(access, str) and isinstance(secret, str) and isinstance(token, str)):
        raise TypeError("keys that are no text")
    if not 0 < expires < LATEST:
        raise ValueError("a time that no clock shows")
    return AwsKeys(access, secret, token, expires)


def _authority(url: str) -> str:
    parts = parse_link(url)
    return parts.host if parts.port == (443 if parts.tls else 80) else f"{parts.host}:{parts.port}"


def _temporary(body: bytes, source: str) -> AwsKeys:
    said = _object(body, source)
    try:
        expires = dt.datetime.fromisoformat(str(said["Expiration"])).timestamp()
        return _keys_of(said, "Token", expires)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CredentialError(f"{source} answers without keys") from error


def _object(body: bytes, source: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise CredentialError(f"{source} does not answer with JSON") from error
