"""What ``edge doctor`` asks outside this machine: names, targets, clocks, sources of discovery, issuers, and etcd.

Providers are asked for nothing that costs: edge's free probe, with the credential. One target of each provider and
every address of a service is asked, once.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

import aiohttp

from edge import clock
from edge.admission.signing_keys import KeySetError
from edge.app.discover import discover
from edge.cli.doctor_finding import Finding, fault, ok
from edge.config import effective
from edge.config.check_discovery import sources
from edge.control.compose import compile_config
from edge.credentials.sigv4 import probe_fields
from edge.providers import KNOWN
from edge.terms.credentials import ProviderToken
from edge.upstream.tls import TlsContexts, TlsError, library_context

if TYPE_CHECKING:
    from edge.config.schema import Config
    from edge.config.schema_auth import Jwt
    from edge.config.schema_cluster import Etcd
    from edge.config.schema_provider_auth import ProviderAuth
    from edge.control.discovering import Found
    from edge.terms.snapshot import Target

PATIENCE_S: Final = 5.0
AT_ONCE: Final = 16
SKEW_S: Final = 5.0
"""A clock that is further off breaks signatures and tokens, and mixes up what nodes of a cluster report."""

_MEANINGS: Final = {
    401: ("refuses the credential", "check its api_key, and that the account is active"),
    402: ("refuses the account: its balance is used up", "top it up"),
    403: ("refuses the credential", "check its api_key, and what the account may do"),
    404: ("has nothing at that path", "check base_url and probe: base_url ends before /chat/completions"),
}


async def of_remote(config: Config) -> list[Finding]:
    """Return what was found outside this machine."""
    held: dict[str, Found] = {"found": {}}
    findings = await _discovered(config, held)
    tokens: dict[str, ProviderToken] = {}
    fetched = effective.auths(config, KNOWN)
    findings += await asyncio.gather(*(_token(name, auth, tokens) for name, auth in fetched.items()))
    snapshot = compile_config(config, now=clock.wall(), found=held["found"], tokens=tokens)
    chosen: dict[tuple[str, ...], Target] = {}
    for target in snapshot.targets:
        if target.kind != "region" and not (target.renewed and target.provider not in tokens):
            chosen.setdefault((target.kind, target.provider, target.host, str(target.port)), target)
    limit = asyncio.Semaphore(AT_ONCE)
    contexts = TlsContexts(library_context)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as client:

        async def asked(target: Target) -> list[Finding]:
            async with limit:
                return await _target(client, contexts, target)

        for told in await asyncio.gather(*map(asked, chosen.values())):
            findings += told
    findings += await asyncio.gather(*map(_issuer, config.auth.jwt))
    if config.cluster.etcd is not None:
        findings += await _etcd(config.cluster.etcd)
    return findings


async def _discovered(config: Config, held: dict[str, Found]) -> list[Finding]:
    if not sources(config):
        return []

    def found(addresses: Found) -> None:
        held["found"] = addresses

    discovering = discover(found, {})
    try:
        await discovering.start(config)
        states = discovering.states()
    finally:
        await discovering.stop()
    remedy = "docs/discovery.md says what each kind of source needs"
    return [
        fault(f"source {state.url}", state.error or "no answer in time", remedy)
        if state.error or state.age_s is None
        else ok(f"source {state.url}", f"{state.endpoints} addresses")
        for state in states
    ]


async def _issuer(jwt: Jwt) -> Finding:
    from edge.control.issuers import fetch  # noqa: PLC0415  # cryptography, which few files need

    subject = f"issuer {jwt.issuer}"
    try:
        async with asyncio.timeout(PATIENCE_S):
            answer = await fetch(jwt, "")
    except (KeySetError, ValueError) as error:
        return fault(subject, str(error), "check issuer and jwks; docs/identity.md says what a key set needs")
    except (aiohttp.ClientError, OSError) as error:
        return _failure(subject, error)
    return ok(subject, f"{len(answer.keys or ())} signing keys")


async def _token(name: str, auth: ProviderAuth, tokens: dict[str, ProviderToken]) -> Finding:
    """Fetch the token of a provider, as a node does, and keep it for the question to the provider."""
    from edge.credentials.exchange import CredentialError  # noqa: PLC0415  # few files need them
    from edge.credentials.fetch import fetch  # noqa: PLC0415  # as above

    subject = f"token of provider {name}"
    try:
        async with asyncio.timeout(2 * PATIENCE_S):
            now = clock.wall()
            grant = await fetch(auth, os.environ, now)
    except CredentialError as error:
        return fault(
            subject, str(error), f"check providers.{name}.auth; docs/credentials.md says what {auth.type} needs"
        )
    except TimeoutError:
        return fault(subject, f"no token within {2 * PATIENCE_S:g} s", "check routes, firewalls and security groups")
    tokens[name] = ProviderToken(grant.token, now, grant.expires, auth.identity, grant.signing)
    return ok(subject, f"expires in {grant.expires - now:.0f} s")


async def _target(
    client: aiohttp.ClientSession, contexts: TlsContexts[ssl.SSLContext], target: Target
) -> list[Finding]:
    what = "provider" if target.kind == "model" else "service"
    subject = f"{what} {target.provider} at {target.host}:{target.port}"
    try:
        async with asyncio.timeout(PATIENCE_S):
            try:
                await asyncio.get_running_loop().getaddrinfo(target.host, target.port)
            except OSError as error:
                sentence = f"the name {target.host} cannot be resolved: {error.strerror or error}"
                return [fault(subject, sentence, "check the name, and the name servers of /etc/resolv.conf")]
            if target.probe_path is None:
                return [await _connected(subject, contexts, target)]
            return await _probed(client, contexts, target, subject)
    except (TlsError, aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
        return [_failure(subject, error)]


def _failure(subject: str, error: Exception) -> Finding:
    """Return what a failed connection or request means."""
    if isinstance(error, TlsError):
        return fault(subject, str(error), "check the files of its tls section")
    if isinstance(error, TimeoutError):
        return fault(subject, f"no answer within {PATIENCE_S:g} s", "check routes, firewalls and security groups")
    if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError):
        cause = error.certificate_error if isinstance(error, aiohttp.ClientConnectorCertificateError) else error
        said = getattr(cause, "verify_message", "") or str(cause)
        remedy = "set tls.ca or tls.server_name, or renew it there"
        return fault(subject, f"its certificate is refused: {said}", remedy)
    if isinstance(error, OSError):
        said = error.strerror or str(error)
        return fault(subject, f"cannot be reached: {said}", "check its address, and that it runs")
    said = f"does not speak HTTP there: {error or type(error).__name__}"
    return fault(subject, said, "check its port, and http or https")


async def _connected(subject: str, contexts: TlsContexts[ssl.SSLContext], target: Target) -> Finding:
    tls = target.tls
    context = None if tls is None else contexts.get(tls, target.protocol)
    name = None if tls is None else tls.server_name
    _, writer = await asyncio.open_connection(target.host, target.port, ssl=context, server_hostname=name)
    writer.close()
    return ok(subject, "accepts connections")


async def _probed(
    client: aiohttp.ClientSession, contexts: TlsContexts[ssl.SSLContext], target: Target, subject: str
) -> list[Finding]:
    scheme = "http" if target.tls is None else "https"
    host = f"[{target.host}]" if ":" in target.host else target.host
    async with client.get(
        f"{scheme}://{host}:{target.port}{target.probe_path}",
        headers=probe_fields(target, target.probe_path or "", clock.wall()),
        ssl=True if target.tls is None else contexts.get(target.tls),
        server_hostname=None if target.tls is None else target.tls.server_name,
        allow_redirects=False,
    ) as answer:
        status, date = answer.status, answer.headers.get("date", "")
    found = [_clock(subject, date)] if date else []
    if 200 <= status < 300:  # noqa: PLR2004  # any success
        return [ok(subject, "answers"), *(finding for finding in found if finding is not None)]
    sentence, remedy = _MEANINGS.get(status, (f"answers {status}", "its status page may say why"))
    return [fault(subject, f"{sentence} (status {status})", remedy), *(f for f in found if f is not None)]


def _clock(subject: str, date: str) -> Finding | None:
    """Return a finding if the clock of this machine differs from that of a server; a Date has whole seconds."""
    try:
        off_s = clock.wall() - parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None
    if abs(off_s) <= SKEW_S:
        return None
    sentence = f"this machine is {abs(off_s):.0f} s {'ahead of' if off_s > 0 else 'behind'} what {subject} says"
    return fault("clock", sentence, "synchronise the clock (chrony, systemd-timesyncd); one of the two is wrong")


async def _etcd(etcd: Etcd) -> list[Finding]:
    from edge.cluster.etcd import EtcdStore  # noqa: PLC0415  # importing grpc takes 150 ms

    store = EtcdStore(etcd)
    try:
        members = await store.members()
    finally:
        await store.close()
    found = []
    for member in members:
        subject = f"etcd {member.url}"
        if member.error:
            found.append(fault(subject, member.error, "check cluster.etcd, and that the member runs"))
        elif not member.has_leader:
            found.append(fault(subject, "has no leader", "most members must run and reach each other"))
        elif member.alarms:
            found.append(fault(subject, "; ".join(member.alarms), "docs/cluster.md has the commands"))
        else:
            found.append(ok(subject, f"{'leader' if member.leads else 'follower'}, version {member.version}"))
    return found
