"""Verification of callers' tokens (JWT, RFC 7519) in a worker; each is verified once (``native.state.tokens``).

Nothing here waits: the keys are those of the Snapshot, which control fetches. What a token says about where its key is
(``jku``, ``jwk``, ``x5u``, ``x5c``) counts for nothing. Reasons for a refusal never repeat a part of the token.
"""

from __future__ import annotations

import re
import socket
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from edge import clock as real
from edge.admission.signing_keys import ALGORITHMS
from edge.native import RefusedToken, VerifiedToken

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.clock import Clock
    from edge.terms.snapshot import Issuer, SigningKey, Snapshot

_S: Final = 1_000_000_000
# How long a refused token is not verified again. A Snapshot with other issuers or keys ends it.
_KEEP_NS: Final = 5 * _S
# An unknown key is asked for at most so often; control has an interval of its own.
_WANT_AGAIN_NS: Final = 10 * _S
# Refused tokens of one address: so many a second, and so many at once. Verifying one takes a tenth of a millisecond.
_REFUSED_PER_SECOND: Final = 20
_REFUSED_AT_ONCE: Final = 100
_MOST_ADDRESSES: Final = 4096
_MOST_GROUPS: Final = 1000
_LONGEST_NAME: Final = 500
_LONGEST_S: Final = 10**9
_LAST_S: Final = 10**12  # Unix time of the last claim that is no mistake: year 33658
_FORM: Final = re.compile(rb"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
_SEALED: Final = re.compile(rb"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]*){4}")
_TYPES: Final = ("", "jwt", "at+jwt", "application/at+jwt", "application/jwt")


class Header(Struct, frozen=True):
    """What counts of a token's header."""

    alg: str
    kid: str = ""
    typ: str = ""
    cty: str = ""
    crit: msgspec.Raw = msgspec.Raw()
    b64: bool = True


class Claimed(Struct, frozen=True):
    """What is read of the claims before they are verified."""

    iss: str = ""
    aud: str | list[str] = ""


class Proof(Struct, frozen=True):
    """By what a token is believed."""

    issuer: Issuer
    key: SigningKey


class TokenRefusedError(Exception):
    """A token is refused; the text completes "The token is refused: ..."."""


class Verifier:
    """Verifies tokens by the issuers and keys of the last Snapshot.

    Args:
        want: called with the source of an issuer, if a token is signed with a key that is not known.
        clock: source of time.
    """

    too_long = RefusedToken("token_refused", "it has more than 8 KiB")

    def __init__(self, want: Callable[[str], None], clock: Clock = real) -> None:
        self._want = want
        self._clock = clock
        self._issuers: dict[str, list[Issuer]] = {}
        self._snapshot: Snapshot | None = None
        self._loaded: dict[SigningKey, Any] = {}
        self._proofs: set[Proof] = set()
        self._wanted_ns: dict[str, int] = {}
        self._failures: OrderedDict[str, int] = OrderedDict()  # address -> when its refusals are forgotten (GCRA)

    def learn(self, snapshot: Snapshot) -> bool:
        """Use the issuers and keys of this Snapshot; return whether they differ from those before."""
        before, self._snapshot = self._snapshot, snapshot
        if before is not None and (before.issuers, before.signing) == (snapshot.issuers, snapshot.signing):
            return False
        self._issuers = {}
        for issuer in snapshot.issuers:
            self._issuers.setdefault(issuer.issuer, []).append(issuer)
        keys = {source: found.keys for source, found in snapshot.signing.items()}
        self._proofs = {Proof(issuer, key) for issuer in snapshot.issuers for key in keys.get(issuer.source, ())}
        known = {proof.key for proof in self._proofs}
        self._loaded = {key: loaded for key, loaded in self._loaded.items() if key in known}
        if snapshot.issuers:  # now, and not while a request waits: with cryptography it takes 100 ms
            import jwt  # noqa: F401, PLC0415
        return True

    def holds(self, proof: Proof) -> bool:
        """Return whether a token that was verified by this issuer and this key is still believed."""
        return proof in self._proofs

    def verify(self, token: bytes, peer: tuple[str, int] | None, now_ns: int) -> VerifiedToken | RefusedToken:
        """Return the verdict on a token.

        Args:
            token: as the caller sent it, at most 8 KiB.
            peer: address and port of the client, whose refusals are counted.
            now_ns: monotonic nanoseconds.
        """
        address = _network(peer[0]) if peer else ""
        step_ns = _S // _REFUSED_PER_SECOND
        until_ns = max(self._failures.get(address, 0), now_ns)
        if until_ns - now_ns > step_ns * _REFUSED_AT_ONCE:
            return RefusedToken("tokens_flooded", "1")
        verdict = self._verify(token, now_ns)
        if isinstance(verdict, RefusedToken) and verdict.kind == "token_refused" and not verdict.fields:
            # where the issuer's keys are missing, or a new one is fetched, the caller is not to blame
            self._failures[address] = until_ns + step_ns
            self._failures.move_to_end(address)
            while len(self._failures) > _MOST_ADDRESSES:
                self._failures.popitem(last=False)
        return verdict

    def _verify(self, token: bytes, now_ns: int) -> VerifiedToken | RefusedToken:
        try:
            header, claimed = _read(token)
            issuer = self._issuer(claimed)
            found = self._snapshot.signing.get(issuer.source) if self._snapshot is not None else None
            if found is None or self._clock.wall() >= found.usable_until(issuer.stale_ns):
                self._ask(issuer.source, now_ns)
                return RefusedToken("signing_keys_missing", "1")
            keys = [key for key in found.keys if key.kid == header.kid or not header.kid]
            if not keys:
                return self._unknown_key(issuer.source, now_ns)
            return self._signed(token, header, issuer, keys, found.usable_until(issuer.stale_ns))
        except TokenRefusedError as refused:
            return RefusedToken("token_refused", str(refused), _KEEP_NS)

    def _issuer(self, claimed: Claimed) -> Issuer:
        named = self._issuers.get(claimed.iss)
        if named is None:
            raise TokenRefusedError("its issuer is not one of this edge's")
        audiences = [claimed.aud] if isinstance(claimed.aud, str) else claimed.aud
        for issuer in named:
            if issuer.audience in audiences:
                return issuer
        raise TokenRefusedError("it is meant for another audience")

    def _unknown_key(self, source: str, now_ns: int) -> RefusedToken:
        """Ask control for the issuer's keys: it may have a new one. Clients that can try again are told to do so."""
        sentence = "it is signed with a key that its issuer has not published"
        fields = [(b"x-should-retry", b"true"), (b"retry-after", b"1")] if self._ask(source, now_ns) else None
        return RefusedToken("token_refused", sentence, _S, fields)

    def _ask(self, source: str, now_ns: int) -> bool:
        if now_ns < self._wanted_ns.get(source, 0):
            return False
        self._wanted_ns[source] = now_ns + _WANT_AGAIN_NS
        self._want(source)
        return True

    def _signed(
        self, token: bytes, header: Header, issuer: Issuer, keys: list[SigningKey], usable_until: float
    ) -> VerifiedToken:
        """Check signature and claims by the keys that fit.

        Raises:
            TokenRefusedError: no key fits, or the token is not valid.
        """
        fit = [key for key in keys if header.alg in key.algorithms]
        if not fit:
            raise TokenRefusedError("its key is not for the algorithm that it names")
        if len(fit) > 1 and not header.kid:
            raise TokenRefusedError("it does not name its key (kid), and the issuer has several")
        for key in fit:
            claims = self._claims(token, header.alg, issuer, key)
            if claims is not None:
                now = self._clock.wall()
                left_s = min(_lifetime_s(claims, issuer, now), usable_until - now, _LONGEST_S)
                name, groups = _caller(claims, issuer)
                return VerifiedToken(name, groups, max(int(left_s * _S), 0), Proof(issuer, key), issuer.key)
        raise TokenRefusedError("its signature is not its issuer's")

    def _claims(self, token: bytes, algorithm: str, issuer: Issuer, key: SigningKey) -> dict[str, Any] | None:
        """Return the claims if the signature is this key's, else None.

        Raises:
            TokenRefusedError: the signature is right, and the token is not.
        """
        import jwt  # noqa: PLC0415  # learn() has imported it

        loaded = self._loaded.get(key)
        if loaded is None:
            loaded = self._loaded[key] = jwt.PyJWK.from_json(key.jwk, key.algorithms[0]).key
        try:
            return jwt.decode(
                token,
                loaded,
                algorithms=[algorithm],
                audience=issuer.audience,
                issuer=issuer.issuer,
                # times are checked below, by the clock of this object and with types that are not guessed
                options={"require": ["exp"], "verify_exp": False, "verify_nbf": False, "verify_iat": False},
            )
        except jwt.InvalidSignatureError:
            return None
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise TokenRefusedError(_reason(error)) from error


def _read(token: bytes) -> tuple[Header, Claimed]:
    """Return what a token claims, unverified.

    Raises:
        TokenRefusedError: it is no token, or one that is never accepted.
    """
    form = _FORM.fullmatch(token)
    if form is None:
        sealed = _SEALED.fullmatch(token) is not None
        raise TokenRefusedError("it is encrypted; send a signed one" if sealed else "it is not a signed token (JWS)")
    try:
        header = msgspec.json.decode(_decoded(form[1]), type=Header)
        if header.alg not in ALGORITHMS:
            raise TokenRefusedError("its algorithm is not accepted")
        if header.cty or header.typ.lower() not in _TYPES:
            raise TokenRefusedError("it holds no claims, but another token")
        if bytes(header.crit) or not header.b64:
            raise TokenRefusedError("it demands extensions (crit)")
        return header, msgspec.json.decode(_decoded(form[2]), type=Claimed)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise TokenRefusedError("its header or its claims are malformed") from error


def _decoded(part: bytes) -> bytes:
    import base64  # noqa: PLC0415  # the first token

    return base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))


def _lifetime_s(claims: dict[str, Any], issuer: Issuer, now: float) -> float:
    """Return the seconds until a token expires.

    Raises:
        TokenRefusedError: it is not valid now.
    """
    times = {name: claims.get(name, 0) for name in ("exp", "nbf", "iat")}
    for value in times.values():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _LAST_S:
            raise TokenRefusedError("its times are malformed")
    leeway_s = issuer.leeway_ns / _S
    if times["exp"] <= now:
        raise TokenRefusedError("it has expired")
    if max(times["nbf"], times["iat"]) > now + leeway_s:
        raise TokenRefusedError("it is not valid yet")
    return float(times["exp"] - now)


def _caller(claims: dict[str, Any], issuer: Issuer) -> tuple[str, tuple[str, ...]]:
    """Return name and groups of the caller, with the issuer's prefix.

    Raises:
        TokenRefusedError: it does not name its caller.
    """
    name = _claim(claims, issuer.name)
    if not isinstance(name, str) or not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise TokenRefusedError(f"its claim {issuer.name} does not name a caller")
    listed = _claim(claims, issuer.groups)
    groups = listed if isinstance(listed, list) else [listed]
    texts = (group for group in groups[:_MOST_GROUPS] if isinstance(group, str) and group)
    return issuer.prefix + name, tuple(issuer.prefix + group for group in texts)


def _claim(claims: dict[str, Any], name: str) -> Any:
    """Return a claim; a name with dots that is no claim itself leads into objects."""
    if name in claims or "." not in name:
        return claims.get(name)
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _reason(error: Exception) -> str:
    """Return a sentence for an error of the library, whose own texts may repeat what the token says."""
    import jwt  # noqa: PLC0415  # learn() has imported it

    if isinstance(error, jwt.MissingRequiredClaimError):
        return "it has no exp, aud or iss"
    if isinstance(error, jwt.InvalidAudienceError | jwt.InvalidIssuerError):
        return "it is meant for another audience, or of another issuer"
    return "its claims are malformed"


def _network(address: str) -> str:
    """Return the address, of IPv6 the network that one client has (/64)."""
    if ":" not in address or "." in address:
        return address
    try:
        return socket.inet_pton(socket.AF_INET6, address.partition("%")[0])[:8].hex()
    except OSError:
        return address
