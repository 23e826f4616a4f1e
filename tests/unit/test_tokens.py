"""A token is believed if it is what its issuer signed for this edge, and for nothing less."""

from __future__ import annotations

import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from issuer import AUDIENCE, NAME, Issuer, claims, part, public, rsa_key

from edge.admission.signing_keys import KeySetError, read_keys
from edge.admission.tokens import Verifier
from edge.native import RefusedToken, VerifiedToken
from edge.terms import snapshot as plan
from tests import snapshots

S = 1_000_000_000
SOURCE = "https://id.example/keys"
PEER = ("192.0.2.1", 4000)


class FakeClock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.seconds = time.time()

    def wall(self) -> float:
        return self.seconds


class World:
    """A verifier that knows an issuer's keys."""

    def __init__(self, issuer: Issuer, **changed: Any) -> None:
        self.issuer = issuer
        self.clock = FakeClock()
        self.wanted: list[str] = []
        self.verifier = Verifier(self.wanted.append, self.clock)  # type: ignore[arg-type]
        self.now_ns = 1
        self.plan = plan.Issuer(
            **{
                "issuer": NAME,
                "audience": AUDIENCE,
                "source": SOURCE,
                "name": "sub",
                "groups": "groups",
                "prefix": "",
                "key": "",
                "leeway_ns": 10 * S,
                "stale_ns": 86400 * S,
                **changed,
            }
        )
        self.learn()

    def learn(self, *, usable_s: float = 86400.0, keys: bytes | None = None) -> bool:
        """Give the verifier a Snapshot with the issuer's present keys."""
        found = plan.SigningKeys(
            read_keys(keys or self.issuer.key_set()), self.clock.seconds + usable_s - 86400 * 9 / 8
        )
        return self.verifier.learn(snapshots.snapshot(issuers=(self.plan,), signing={SOURCE: found}))

    def verdict(self, token: str | bytes, peer: tuple[str, int] = PEER) -> VerifiedToken | RefusedToken:
        """Return the verdict on a token."""
        data = token if isinstance(token, bytes) else token.encode()
        return self.verifier.verify(data, peer, self.now_ns)

    def refused(self, token: str | bytes) -> str:
        """Return why a token is refused; no reason repeats a part of it."""
        verdict = self.verdict(token)
        assert isinstance(verdict, RefusedToken), verdict
        assert verdict.kind == "token_refused"
        parts = (token if isinstance(token, bytes) else token.encode()).decode("latin-1").split(".")
        assert not any(len(text) > 12 and text in verdict.detail for text in parts)
        return verdict.detail

    def accepted(self, token: str) -> VerifiedToken:
        """Return the verdict on a token that has to be believed."""
        verdict = self.verdict(token)
        assert isinstance(verdict, VerifiedToken), verdict
        return verdict


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    """Return an issuer with a key of each kind."""
    made = Issuer()
    made.keys["two"] = rsa_key()
    made.keys["p256"] = ec.generate_private_key(ec.SECP256R1())
    made.keys["p384"] = ec.generate_private_key(ec.SECP384R1())
    made.keys["ed"] = ed25519.Ed25519PrivateKey.generate()
    return made


@pytest.fixture
def world(issuer: Issuer) -> World:
    """Return a verifier that knows the issuer."""
    return World(issuer)


@pytest.mark.parametrize(
    ("kid", "algorithm"),
    [("one", "RS256"), ("one", "RS512"), ("one", "PS256"), ("p256", "ES256"), ("p384", "ES384"), ("ed", "EdDSA")],
)
def test_tokens_of_each_algorithm_are_believed(world: World, kid: str, algorithm: str) -> None:
    """What its issuer signed names its caller, its groups, and how long it counts."""
    verdict = world.accepted(world.issuer.token(kid, algorithm, groups=["staff", "ops"]))
    assert (verdict.name, verdict.groups) == ("team-a", ("staff", "ops"))
    assert 590 * S < verdict.lifetime_ns <= 600 * S
    assert world.verifier.holds(verdict.proof)


def forged(header: dict[str, Any], payload: Any, signature: bytes = b"x" * 256) -> str:
    """Return a token with any header."""
    return f"{part(header)}.{part(payload)}.{part(signature)}"


def hs_by_public_key(issuer: Issuer) -> str:
    """Return a token that is signed by HS256 with the public key as secret, as RS/HS confusion does."""
    pem = (
        issuer.keys["one"]
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    import hashlib
    import hmac

    signed = f"{part({'alg': 'HS256', 'kid': 'one'})}.{part(claims())}"
    return f"{signed}.{part(hmac.digest(pem, signed.encode(), hashlib.sha256))}"


def test_algorithm_none_is_refused(world: World) -> None:
    """Neither an unsigned token nor one that says so in other letters counts."""
    for name in ("none", "None", "NONE", "nOnE", ""):
        assert world.refused(forged({"alg": name, "kid": "one"}, claims())) == "its algorithm is not accepted"
    assert "not a signed token" in world.refused(f"{part({'alg': 'none'})}.{part(claims())}.")


def test_a_foreign_key_is_refused(world: World) -> None:
    """A token that another key signed under the name of a known one is refused."""
    assert world.refused(world.issuer.token(key=rsa_key())) == "its signature is not its issuer's"


def test_a_changed_token_is_refused(world: World) -> None:
    """Claims that were changed after they were signed are refused."""
    head, _, signature = world.issuer.token().split(".")
    assert "signature" in world.refused(f"{head}.{part(claims(sub='admin'))}.{signature}")


@pytest.mark.parametrize("kid", ["two", "p256", "../../../dev/null", "' OR 1=1", "one\u0000"])
def test_kid_confusion_is_refused(world: World, kid: str) -> None:
    """A token that names another key than the one that signed it is refused."""
    token = jwt.encode(claims(), world.issuer.keys["one"], "RS256", headers={"kid": kid})
    assert world.refused(token)


def test_keys_in_the_token_do_not_count(world: World) -> None:
    """A key or an address of keys that a token brings along is not used."""
    own = rsa_key()
    for more in ({"jwk": public(own, "one")}, {"jku": "https://evil.example/keys"}, {"x5c": ["MIIB"]}):
        token = jwt.encode(claims(), own, "RS256", headers={"kid": "one", **more})
        assert world.refused(token) == "its signature is not its issuer's"


def test_symmetric_and_asymmetric_algorithms_are_not_confused(world: World) -> None:
    """A public key is no shared secret; nor may a key of one kind verify for another."""
    assert world.refused(hs_by_public_key(world.issuer)) == "its algorithm is not accepted"
    assert "algorithm" in world.refused(forged({"alg": "ES256", "kid": "one"}, claims()))
    assert "algorithm" in world.refused(forged({"alg": "RS256", "kid": "ed"}, claims()))


def test_times_are_kept(world: World) -> None:
    """A token counts from nbf and iat, give or take the leeway, to exp exactly."""
    now = int(world.clock.seconds)
    assert world.refused(world.issuer.token(exp=now)) == "it has expired"
    assert world.refused(world.issuer.token(exp=now - 3600)) == "it has expired"
    assert world.refused(world.issuer.token(nbf=now + 60)) == "it is not valid yet"
    assert world.refused(world.issuer.token(iat=now + 60)) == "it is not valid yet"
    assert world.refused(world.issuer.token(exp=None)) == "it has no exp, aud or iss"
    world.accepted(world.issuer.token(nbf=now + 5, iat=now + 5))


@pytest.mark.parametrize("value", ['"tomorrow"', "true", "1e999", "null", "[]", "NaN"])
def test_malformed_times_are_refused(world: World, value: str) -> None:
    """A time that is no number is refused, although the issuer signed it."""
    payload = json.dumps(claims(exp=-1)).replace('"exp": -1', f'"exp": {value}').encode()
    signed = f"{part({'alg': 'RS256', 'kid': 'one'})}.{part(payload)}"
    signature = jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256).sign(
        signed.encode(), world.issuer.keys["one"]
    )
    assert world.refused(f"{signed}.{part(signature)}")


def test_audience_and_issuer_are_compared_exactly(world: World) -> None:
    """Tokens for others and of others are refused."""
    for audience in ("other", "edge2", "Edge", "", ["other"], [], None):
        assert world.refused(world.issuer.token(aud=audience)) == "it is meant for another audience"
    for name in ("https://id.example/", "https://evil.example", "", None):
        assert world.refused(world.issuer.token(iss=name)) == "its issuer is not one of this edge's"
    assert world.accepted(world.issuer.token(aud=["other", AUDIENCE])).name == "team-a"


def test_nested_and_encrypted_tokens_are_refused(world: World) -> None:
    """A token within a token, an encrypted one, and one with critical extensions are refused."""
    inner = world.issuer.token().encode()
    nested = forged({"alg": "RS256", "kid": "one", "cty": "JWT"}, inner)
    assert world.refused(nested) == "it holds no claims, but another token"
    assert "encrypted" in world.refused(
        f"{part({'alg': 'dir', 'enc': 'A256GCM'})}..{part(b'i')}.{part(b'c')}.{part(b't')}"
    )
    token = jwt.encode(claims(), world.issuer.keys["one"], "RS256", headers={"kid": "one", "crit": ["exp"]})
    assert world.refused(token) == "it demands extensions (crit)"
    deep = forged({"alg": "RS256", "kid": "one"}, b'{"iss":' + b"[" * 3000 + b"]" * 3000 + b"}")
    assert "malformed" in world.refused(deep)


@pytest.mark.parametrize(
    "text", ["eyJ", "eyJ.eyJ", "a.b.c.d", "...", "eyJhbGciOiJSUzI1NiJ9.e30", "é.é.é", "eyJ=.e30=.x="]
)
def test_what_is_no_token_is_refused(world: World, text: str) -> None:
    """Anything but three parts of base64url is refused before it is decoded."""
    assert "not a signed token" in world.refused(text)


def test_no_character_can_be_added(world: World) -> None:
    """Characters that lenient decoders skip make another token of it, so that one token has one digest."""
    token = world.issuer.token()
    for extra in ("!", "\n", " ", "=", "+"):
        assert world.refused(token[:-8] + extra + token[-8:])


def test_a_token_without_kid_needs_one_key_that_fits() -> None:
    """Without kid the only key of an issuer counts; of several none is guessed."""
    issuer = Issuer()
    world = World(issuer)
    assert world.accepted(issuer.token(None)).name == "team-a"
    issuer.keys["two"] = rsa_key()
    world.learn()
    assert "does not name its key" in world.refused(issuer.token(None))


def test_unknown_keys_are_asked_for_now_and_then(world: World) -> None:
    """A token with an unknown key is refused and makes control look, but not each of many."""
    new = rsa_key()
    first = world.verdict(world.issuer.token("three", key=new))
    assert isinstance(first, RefusedToken)
    assert (b"x-should-retry", b"true") in (first.fields or [])
    for _ in range(20):
        verdict = world.verdict(world.issuer.token("three", key=new))
        assert isinstance(verdict, RefusedToken)
        assert verdict.fields is None
    assert world.wanted == [SOURCE]
    world.now_ns += 11 * S
    world.refused(world.issuer.token("three", key=new))
    assert world.wanted == [SOURCE, SOURCE]


def test_rotation_takes_old_keys_away() -> None:
    """Tokens of a key that the issuer took back are believed no more."""
    issuer = Issuer()
    world = World(issuer)
    proof = world.accepted(issuer.token()).proof
    token = issuer.token()
    issuer.keys["two"] = rsa_key()
    assert world.learn()
    assert world.verifier.holds(proof)
    issuer.keys = {"next": rsa_key()}
    assert world.learn()
    assert not world.verifier.holds(proof)
    assert "not published" in world.refused(token)
    world.accepted(issuer.token("next"))


def test_known_keys_count_while_the_issuer_is_dark(world: World) -> None:
    """Keys that are not confirmed verify until ``stale`` is over, and a token counts no longer than they do."""
    world.learn(usable_s=300)
    world.clock.seconds += 200
    verdict = world.accepted(world.issuer.token(exp=int(world.clock.seconds) + 600))
    assert verdict.lifetime_ns <= 100 * S
    world.clock.seconds += 101
    late = world.verdict(world.issuer.token(exp=int(world.clock.seconds) + 600))
    assert isinstance(late, RefusedToken)
    assert late.kind == "signing_keys_missing"
    assert world.wanted == [SOURCE]


def test_bad_tokens_of_one_address_are_bounded(world: World) -> None:
    """An address that shows bad tokens is soon refused unread, others are not, and it is forgiven."""
    token = world.issuer.token(key=rsa_key())
    kinds = [world.verdict(token).kind for _ in range(150)]  # type: ignore[union-attr]
    assert kinds.count("token_refused") == 101
    assert set(kinds[101:]) == {"tokens_flooded"}
    good = world.issuer.token()
    assert isinstance(world.verdict(good, ("192.0.2.2", 1)), VerifiedToken)
    assert isinstance(world.verdict(good), RefusedToken)
    world.now_ns += S
    assert isinstance(world.verdict(good), VerifiedToken)


def test_one_client_is_one_network_of_ipv6(world: World) -> None:
    """A client that has many addresses of IPv6 is still one client."""
    token = world.issuer.token(key=rsa_key())
    kinds = {world.verdict(token, (f"2001:db8:1:2::{index:x}", 1)).kind for index in range(1, 150)}  # type: ignore[union-attr]
    assert "tokens_flooded" in kinds


def test_networks_of_ipv6_that_are_written_short_are_told_apart(world: World) -> None:
    """2001:db8::/64 is one client, however its addresses are written."""
    token = world.issuer.token(key=rsa_key())
    kinds = {world.verdict(token, (f"2001:db8::{index:x}:1:2:3", 1)).kind for index in range(1, 150)}  # type: ignore[union-attr]
    assert "tokens_flooded" in kinds
    assert isinstance(world.verdict(world.issuer.token(), ("2001:db8:0:1::1", 1)), VerifiedToken)


def test_missing_keys_of_an_issuer_are_not_the_callers_fault(world: World) -> None:
    """While no key can be had, callers are told so, however many they are; none is held for a flood."""
    world.learn(usable_s=1)
    world.clock.seconds += 10
    kinds = {world.verdict(world.issuer.token(exp=int(world.clock.seconds) + 600)).kind for _ in range(150)}  # type: ignore[union-attr]
    assert kinds == {"signing_keys_missing"}


def test_names_and_groups_come_from_claims(issuer: Issuer) -> None:
    """The claims that the configuration names count, within objects too, with the issuer's prefix."""
    world = World(issuer, name="realm.user", groups="https://id.example/roles", prefix="corp:", key="rest")
    token = issuer.token(realm={"user": "ann"}, **{"https://id.example/roles": ["dev", 7, "", "ops"]})
    verdict = world.accepted(token)
    assert (verdict.name, verdict.groups, verdict.otherwise) == ("corp:ann", ("corp:dev", "corp:ops"), "rest")
    for wrong in (None, 7, "", "a\nb", ["ann"], "x" * 501):
        assert "does not name a caller" in world.refused(issuer.token(realm={"user": wrong}))
    assert World(issuer).accepted(issuer.token(groups="one")).groups == ("one",)


def test_only_keys_for_signatures_are_read(issuer: Issuer) -> None:
    """Shared secrets, published private keys, short keys and keys for encryption are left out of a set."""
    good = public(issuer.keys["one"], "good")
    private = jwt.algorithms.RSAAlgorithm.to_jwk(issuer.keys["two"], as_dict=True)
    others = [
        {"kty": "oct", "kid": "secret", "k": "c2VjcmV0"},
        {**private, "kid": "private"},
        public(rsa_key(1024), "short"),
        {**good, "kid": "enc", "use": "enc"},
        {**good, "kid": "hs", "alg": "HS256"},
        {**good, "kid": 7},
        {**good, "n": 7},
        {**good, "n": "AQAB"},
        "key",
        {"kty": "EC", "crv": "secp256k1", "x": "a", "y": "b"},
        {"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"},
    ]
    assert [key.kid for key in read_keys(json.dumps({"keys": [*others, good]}).encode())] == ["good"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"{}", "not a key set"),
        (b'{"keys":{}}', "not a key set"),
        (b'{"keys":[]}', "none of its 0"),
        (b'{"keys":[' + b",".join([b"{}"] * 65) + b"]}", "it has 65 keys"),
        (b" " * (256 * 1024 + 1), "more than 256 KiB"),
    ],
)
def test_sets_that_cannot_be_used_are_refused(body: bytes, reason: str) -> None:
    """A set that is huge, malformed or empty says so, and is not used."""
    with pytest.raises(KeySetError, match=reason):
        read_keys(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(10**300, 10**310) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
WORLD = World(Issuer())


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(st.sampled_from(["exp", "nbf", "iat", "aud", "iss", "sub", "groups", "jti"]), JSON, max_size=4))
@example({"exp": 10**310})
@example({"nbf": -(10**400)})
@example({"exp": 1e300})
def test_any_claims_get_a_verdict(odd: dict[str, Any]) -> None:
    """Whatever types the claims of a signed token have, it is believed or refused, and nothing is raised."""
    issuer = WORLD.issuer
    signed = f"{part({'alg': 'RS256', 'kid': 'one'})}.{part({**claims(), **odd})}"
    algorithm = jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256)
    token = f"{signed}.{part(algorithm.sign(signed.encode(), issuer.keys['one']))}"
    WORLD.now_ns += S
    verdict = WORLD.verdict(token)
    if isinstance(verdict, VerifiedToken):
        assert verdict.name == {**claims(), **odd}["sub"]
        assert 0 < verdict.lifetime_ns <= 86400 * S
    else:
        assert verdict.kind == "token_refused"


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from(["alg", "kid", "typ", "cty", "crit", "b64", "jwk", "x"]), JSON, max_size=4),
    st.sampled_from(["RS256", "ES256", "EdDSA", "none"]),
    JSON,
    st.binary(max_size=300),
)
def test_any_header_gets_a_verdict(odd: dict[str, Any], algorithm: str, payload: Any, signature: bytes) -> None:
    """Whatever a forged token says in its header and its claims, it is refused, and nothing is raised."""
    WORLD.now_ns += S
    said = {**claims(), **payload} if isinstance(payload, dict) else payload
    verdict = WORLD.verdict(forged({"alg": algorithm, "kid": "one", **odd}, said, signature or b"x"))
    assert isinstance(verdict, RefusedToken)


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=80).map(lambda text: f"eyJ{text}.e30.x".encode()))
def test_any_bytes_get_a_verdict(data: bytes) -> None:
    """Bytes that are no token are refused, and nothing is raised."""
    WORLD.now_ns += S
    assert isinstance(WORLD.verdict(data), RefusedToken)
