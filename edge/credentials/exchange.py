"""The exchange of one proof for another over HTTP: bounded in time and size, to the named host alone.

No redirect is followed and no proxy of the environment is used: what is sent are secrets. Errors repeat neither them
nor what a server says beyond its error code.
"""

from __future__ import annotations

import re
import ssl
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import msgspec
from msgspec import Struct

from edge.config.addresses import forbidden, is_loopback, parse_link
from edge.config.files import read_file
from edge.errors import EdgeError
from edge.terms.credentials import Signing  # noqa: TC001  # msgspec reads the annotation at run time
from edge.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

LIMIT_S: Final = 10.0
LARGEST: Final = 256 * 1024
USUAL_S: Final = 3600.0
LONGEST_S: Final = 7 * 86400.0
_OK: Final = 200
_CODE: Final = re.compile(r"[A-Za-z0-9_.:-]{1,80}")
# What a header can carry, without a space in it (RFC 6750 2.1, and what providers really send).
_TOKEN: Final = re.compile(r"[!-~]{1,16384}")


class CredentialError(EdgeError):
    """A credential cannot be had; the message says from where, and why."""

    kind = "credential"


class Grant(Struct, frozen=True):
    """A token or keys, and the Unix time at which they expire."""

    token: str  # "": requests are signed
    expires: float
    signing: Signing | None = None

    def __repr__(self) -> str:
        return f"<Grant until {self.expires:.0f}>"


class Exchange:
    """What fetching needs: an HTTP client, the environment, and the time.

    Args:
        environ: environment variables.
        now: Unix time.
        ca: PEM file of authorities to trust; None: the system's.
    """

    def __init__(self, environ: Mapping[str, str], now: float, ca: str | None = None) -> None:
        self.environ = environ
        self.now = now
        self._ca = ca

    async def form(self, url: str, fields: Mapping[str, str], headers: Mapping[str, str] | None = None) -> Any:
        """POST a form; return the decoded JSON of the answer.

        Raises:
            CredentialError: it does not answer as it should.
        """
        return _decoded(url, await self.send("POST", _safe(url), headers, dict(fields)))

    async def json(self, url: str, body: Any, headers: Mapping[str, str] | None = None) -> Any:
        """POST JSON; return the decoded JSON of the answer.

        Raises:
            CredentialError: it does not answer as it should.
        """
        said = {"content-type": "application/json", **(headers or {})}
        return _decoded(url, await self.send("POST", _safe(url), said, msgspec.json.encode(body)))

    async def machine(
        self, method: str, url: str, headers: Mapping[str, str], *, shows: tuple[str, str] | None = None
    ) -> bytes:
        """Ask this machine's metadata service, at an address that is a constant of the program; return the answer.

        Args:
            method: HTTP method.
            url: the URL.
            headers: fields of the request.
            shows: a field that the answer must have, which tells the service from another server.

        Raises:
            CredentialError: it does not answer as it should.
        """
        return await self.send(method, url, headers, None, shows=shows)

    async def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        data: Any,
        *,
        shows: tuple[str, str] | None = None,
    ) -> bytes:
        """Send a request; return the body of an answer with status 200.

        Raises:
            CredentialError: there is none.
        """
        host = parse_link(url).host
        try:
            trusted: ssl.SSLContext | bool = True if self._ca is None else ssl.create_default_context(cafile=self._ca)
            said = {"User-Agent": f"edge/{VERSION}", "Accept": "application/json, */*", **(headers or {})}
            timeout = aiohttp.ClientTimeout(total=LIMIT_S)
            async with (
                aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(ssl=trusted), cookie_jar=aiohttp.DummyCookieJar(), timeout=timeout
                ) as client,
                client.request(method, url, data=data, headers=said, allow_redirects=False) as answer,
            ):
                body = await answer.content.read(LARGEST + 1)
                while len(body) <= LARGEST and (more := await answer.content.read(LARGEST + 1 - len(body))):
                    body += more
                status, shown = answer.status, answer.headers
        except TimeoutError as error:
            raise CredentialError(f"{host} does not answer within {LIMIT_S:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise CredentialError(f"{host} cannot be asked: {_reason(error)}") from error
        if len(body) > LARGEST:
            raise CredentialError(f"{host} sends more than {LARGEST >> 10} KiB")
        if status != _OK:
            raise CredentialError(f"{host} answers with status {status}{_code(body)}")
        if shows is not None and shown.get(shows[0]) != shows[1]:
            raise CredentialError(f"{host} is not the metadata service that was asked for: {shows[0]} is missing")
        return body


def granted(said: Any, now: float, source: str, *, name: str = "access_token") -> Grant:
    """Return the token of an OAuth 2.0 answer (RFC 6749, section 5.1).

    Raises:
        CredentialError: it has none that a header can carry.
    """
    token = said.get(name) if isinstance(said, dict) else None
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise CredentialError(f"{source} answers without a usable {name}")
    kind = said.get("token_type", "Bearer")
    if not isinstance(kind, str) or kind.lower() not in ("bearer", "n_a"):
        raise CredentialError(f"{source} gives out tokens of another type than Bearer")
    lasts = said.get("expires_in", USUAL_S)
    try:
        lasts_s = float(lasts)  # some send it as text
    except (TypeError, ValueError):
        lasts_s = 0.0
    if not 0 < lasts_s <= LONGEST_S:
        raise CredentialError(f"{source} gives out a token that has expired already, or never would")
    return Grant(token, now + lasts_s)


def secret_file(path: str, what: str) -> str:
    """Return the content of a file with a proof, read anew each time: such files are rotated.

    Raises:
        CredentialError: it cannot be read, or is empty.
    """
    try:
        text = read_file(path, LARGEST).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is not text"
        raise CredentialError(f"{what} {path} cannot be read: {said}") from error
    if not text:
        raise CredentialError(f"{what} {path} is empty")
    return text


def _safe(url: str) -> str:
    """Return a URL that secrets may be sent to.

    Raises:
        CredentialError: it is not encrypted, or an address that must not be called.
    """
    try:
        parts = parse_link(url)
    except ValueError as error:
        raise CredentialError(f"the URL of the token endpoint: {error}") from error
    if forbidden(parts.host):
        raise CredentialError(f"{parts.host} must not be called: {forbidden(parts.host)}")
    if not parts.tls and not is_loopback(parts.host):
        raise CredentialError(f"{parts.host} would get a secret unencrypted; write https")
    return url


def _decoded(url: str, body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise CredentialError(f"{parse_link(url).host} does not answer with JSON") from error


def _code(body: bytes) -> str:
    """Return the error code in an answer, such as invalid_client; its description may repeat what was sent."""
    try:
        said = msgspec.json.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return ""
    code = said.get("error", said.get("Error")) if isinstance(said, dict) else None
    if isinstance(code, dict):
        code = code.get("status") or code.get("code") or code.get("Code")  # the last one is AWS's
    return f" ({code})" if isinstance(code, str) and _CODE.fullmatch(code) else ""


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its certificate is refused"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
