"""Requests are signed as AWS's published suite says, and as botocore and edge's own slow version sign them."""

from __future__ import annotations

import calendar
import datetime as dt
from typing import TYPE_CHECKING
from unittest import mock

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from edge.credentials.sigv4 import AwsKeys, Call, signed_fields
from native.codec.sigv4 import Signer, read_error

if TYPE_CHECKING:
    Fields = list[tuple[bytes, bytes]]

# AWS Signature Version 4 test suite (aws-sig-v4-test-suite): the same keys, time and scope for every case.
ACCESS, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
NOW = calendar.timegm((2015, 8, 30, 12, 36, 0))
HOST = b"example.amazonaws.com"
FORM = (b"content-type", b"application/x-www-form-urlencoded")
MINE = (b"my-header1", b"my-header2")
PLAIN = b"-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
TOKEN = (
    "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx"
    "7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6"
    "d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=="
)
VANILLA = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
CASES: dict[str, tuple[bytes, bytes, Fields, bytes, str]] = {
    "get-vanilla": (b"GET", b"/", [], b"", VANILLA),
    "post-vanilla": (b"POST", b"/", [], b"", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    "get-relative": (b"GET", b"/example/..", [], b"", VANILLA),
    "get-relative-relative": (b"GET", b"/example1/example2/../..", [], b"", VANILLA),
    "get-slash": (b"GET", b"//", [], b"", VANILLA),
    "get-slash-dot-slash": (b"GET", b"/./", [], b"", VANILLA),
    "get-slash-pointless-dot": (
        b"GET", b"/./example", [], b"", "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5",
    ),
    "get-slashes": (
        b"GET", b"//example//", [], b"", "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
    ),
    "get-space": (
        b"GET", b"/example space/", [], b"", "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
    ),
    "get-unreserved": (
        b"GET", b"/" + PLAIN, [], b"", "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
    ),
    "get-utf8": (
        b"GET", "/\u1234".encode(), [], b"", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
    ),
    "get-vanilla-empty-query-key": (
        b"GET", b"/?Param1=value1", [], b"", "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
    ),
    "get-vanilla-query-order-key-case": (
        b"GET", b"/?Param2=value2&Param1=value1", [], b"",
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
    "get-vanilla-query-unreserved": (
        b"GET", b"/?" + PLAIN + b"=" + PLAIN, [], b"",
        "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
    ),
    "get-vanilla-utf8-query": (
        b"GET", "/?\u1234=bar".encode(), [], b"", "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
    ),
    "get-header-key-duplicate": (
        b"GET", b"/", [(MINE[0], b"value2"), (MINE[0], b"value2"), (MINE[0], b"value1")], b"",
        "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
    ),
    "get-header-value-order": (
        b"GET", b"/", [(MINE[0], b"value4"), (MINE[0], b"value1"), (MINE[0], b"value3"), (MINE[0], b"value2")], b"",
        "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
    ),
    "get-header-value-trim": (
        b"GET", b"/", [(MINE[0], b" value1"), (MINE[1], b' "a   b   c"')], b"",
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
    ),
    "post-x-www-form-urlencoded": (
        b"POST", b"/", [FORM], b"Param1=value1", "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
    ),
    "post-x-www-form-urlencoded-parameters": (
        b"POST", b"/", [(FORM[0], FORM[1] + b"; charset=utf8")], b"Param1=value1",
        "1a72ec8f64bd914b0e42e42607c7fbce7fb2c7465f63e3092b3b0d39fa77a6fe",
    ),
}  # fmt: skip


def signature(fields: Fields) -> str:
    """Return the signature among the fields of a signed request."""
    return dict(fields)[b"authorization"].decode().partition("Signature=")[2]


@pytest.mark.parametrize("name", CASES)
def test_published_signatures(name: str) -> None:
    """Method, path, query, fields and body are signed as the suite says."""
    method, target, fields, body, expected = CASES[name]
    signer = Signer("us-east-1", "service", ACCESS, SECRET, more=MINE)
    assert signature(signer.signed(method, target, HOST, fields, body, NOW)) == expected


def test_a_session_token_is_signed_and_sent() -> None:
    """post-sts-header-before of the suite: temporary keys."""
    signer = Signer("us-east-1", "service", ACCESS, SECRET, TOKEN)
    fields = dict(signer.signed(b"POST", b"/", HOST, [], b"", NOW))
    assert fields[b"x-amz-security-token"] == TOKEN.encode()
    assert fields[b"x-amz-date"] == b"20150830T123600Z"
    assert fields[b"authorization"] == (
        b"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        b"SignedHeaders=host;x-amz-date;x-amz-security-token, "
        b"Signature=85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"
    )


VISIBLE = st.characters(min_codepoint=0x21, max_codepoint=0x7E)
PART = st.text(st.sampled_from("abcXYZ019-._~%2F/:+*@ é"), max_size=20)
VALUE = st.text(st.sampled_from("ab;/=, \t\"'"), max_size=20)


def quoted(text: str, safe: bytes) -> bytes:
    """Encode a text for a URL, with lower case where AWS wants upper case."""
    return b"".join(bytes([c]) if c in safe else b"%%%02X" % c for c in text.encode())


@given(
    method=st.sampled_from(["GET", "POST", "DELETE"]),
    path=st.lists(PART, max_size=5),
    query=st.lists(st.tuples(PART, PART), max_size=4),
    content_type=st.none() | VALUE,
    mine=st.lists(VALUE, max_size=3),
    body=st.binary(max_size=200),
    secret=st.text(VISIBLE, min_size=1, max_size=90),
    session=st.text(VISIBLE, max_size=60),
    service=st.sampled_from(["bedrock", "s3", "sagemaker"]),
    now=st.integers(0, 7_000_000_000),
)
def test_botocore_signs_alike(  # noqa: PLR0917 - what hypothesis draws
    method: str,
    path: list[str],
    query: list[tuple[str, str]],
    content_type: str | None,
    mine: list[str],
    body: bytes,
    secret: str,
    session: str,
    service: str,
    now: int,
) -> None:
    """Any path, query, fields, body, keys and time give the signature that AWS's own library computes."""
    target = b"/" + b"/".join(quoted(part, PLAIN + b":@*+") for part in path)
    if query:
        target += b"?" + b"&".join(quoted(name, PLAIN) + b"=" + quoted(value, PLAIN) for name, value in query)
    fields = [(b"my-header1", value.encode()) for value in mine]
    if content_type is not None:
        fields.append((b"content-type", content_type.encode()))
    signer = Signer("eu-west-1", service, ACCESS, secret, session, more=MINE)
    ours = signer.signed(method.encode(), target, HOST, fields, body, now)

    kind = botocore.auth.S3SigV4Auth if service == "s3" else botocore.auth.SigV4Auth
    request = AWSRequest(method, "https://" + HOST.decode() + target.decode(), data=body)
    for name, value in fields:
        request.headers.add_header(name.decode(), value.decode())
    moment = dt.datetime.fromtimestamp(now, dt.UTC).replace(tzinfo=None)
    auth = kind(Credentials(ACCESS, secret, session or None), service, "eu-west-1")
    with mock.patch.object(botocore.auth, "get_current_datetime", return_value=moment):
        auth.add_auth(request)
    assert dict(ours)[b"authorization"].decode() == request.headers["Authorization"]


@given(
    path=PART,
    query=st.dictionaries(PART, PART, max_size=3),
    session=st.text(VISIBLE, max_size=20),
    now=st.integers(0, 7_000_000_000),
)
def test_the_slow_version_signs_alike(path: str, query: dict[str, str], session: str, now: int) -> None:
    """The version that control signs its own requests with is the reference model of this one."""
    where = quoted("/models/m" + path.replace("/", ""), PLAIN + b"/")
    pairs = [quoted(name, PLAIN) + b"=" + quoted(value, PLAIN) for name, value in query.items()]
    target = where + b"?" + b"&".join(pairs)
    call = Call("GET", HOST.decode(), where.decode(), "eu-west-1", "bedrock")
    theirs = signed_fields(call, AwsKeys(ACCESS, SECRET, session), query, {"content-type": "text/plain"}, now)
    signer = Signer("eu-west-1", "bedrock", ACCESS, SECRET, session)
    ours = signer.signed(b"GET", target, HOST, [(b"content-type", b"text/plain")], b"", now)
    assert dict(ours)[b"authorization"].decode() == theirs["authorization"]


def test_one_signer_signs_over_midnight() -> None:
    """The key of the day is derived anew, and nothing of the day before stays."""
    signer = Signer("us-east-1", "service", ACCESS, SECRET)
    midnight = calendar.timegm((2016, 2, 29, 0, 0, 0))
    for now in (midnight - 1, midnight, midnight - 1, midnight + 86400):
        fresh = Signer("us-east-1", "service", ACCESS, SECRET)
        assert signer.signed(b"GET", b"/", HOST, [], b"", now) == fresh.signed(b"GET", b"/", HOST, [], b"", now)


def test_a_caller_cannot_speak_for_the_signature() -> None:
    """Fields that a caller has sent and that AWS would take for the signer's are left out; others stay."""
    signer = Signer("us-east-1", "service", ACCESS, SECRET, "session")
    claims = [(b"x-amz-date", b"x"), (b"x-amz-security-token", b"x"), (b"authorization", b"x"), (b"x-amz-acl", b"x")]
    kept = [(b"x-amzn-bedrock-trace", b"ENABLED"), (b"accept", b"*/*")]
    fields = signer.signed(b"POST", b"/", HOST, [*claims, *kept], b"", NOW)
    assert fields[:2] == kept
    assert [name for name, _ in fields[2:]] == [b"x-amz-date", b"x-amz-security-token", b"authorization"]
    assert b"x" not in dict(fields).values()


def test_a_type_that_may_be_read_in_two_ways_is_left_out() -> None:
    """A signature that AWS reads otherwise would be taken for a fault of the keys."""
    signer = Signer("us-east-1", "service", ACCESS, SECRET)
    odd = [(b"content-type", b"application/json; x=\xe9")]
    assert signer.signed(b"POST", b"/", HOST, odd, b"", NOW) == signer.signed(b"POST", b"/", HOST, [], b"", NOW)


@pytest.mark.parametrize("access", ["", ACCESS])
def test_no_name_is_longer_than_its_room(access: str) -> None:
    """Region and service are bounded before there are keys, too."""
    for names in (("r" * 65, "s"), ("r", "s" * 65), ("r\u00e9", "s")):
        with pytest.raises(ValueError, match="no region or service"):
            Signer(*names, access)
    longest = Signer("r" * 64, "s" * 64, access, "secret" * 100, "t" * 16384)
    assert longest.signed(b"GET", b"/", HOST, [], b"", NOW)


def test_why_nothing_can_be_signed() -> None:
    """Without keys, and after their end."""
    assert "no AWS keys" in str(Signer("us-east-1", "bedrock").why_not(NOW))
    signer = Signer("us-east-1", "bedrock", ACCESS, SECRET, expires_s=NOW + 1)
    assert signer.why_not(NOW) is None
    assert "expired" in str(signer.why_not(NOW + 1))
    assert SECRET not in repr(signer)
    with pytest.raises(ValueError, match="no region"):
        Signer("", "bedrock", ACCESS, SECRET)


@pytest.mark.parametrize(
    ("code", "content", "said"),
    [
        (b"InvalidSignatureException:http://internal.amazon.com/coral/", b"{}", "check the secret key"),
        (b"InvalidSignatureException", b'{"message":"Signature expired: 20150830T1236Z is now earlier"}', "clock"),
        (b"InvalidSignatureException", b'{"message":"Signature not yet current: 20150830T1236Z"}', "clock"),
        (b"RequestTimeTooSkewed", b"", "clock"),
        (b"ExpiredTokenException", b"{}", "have expired"),
        (b"UnrecognizedClientException", b"{}", "does not know"),
        (b"com.amazon.coral.service#AccessDeniedException", b"{}", "check its policy"),
        (b"ThrottlingException", b"{}", "ThrottlingException"),
    ],
)
def test_what_aws_says_of_the_keys(code: bytes, content: bytes, said: str) -> None:
    """Each code has a meaning for the operator; what it cannot be is not repeated."""
    assert said in str(read_error([(b"x-amzn-errortype", code)], content))


@pytest.mark.parametrize("code", [b"", b"A" * 65, b"Bad Code", b"<script>", b"\xff"])
def test_what_is_no_code_is_not_repeated(code: bytes) -> None:
    """A code is a short word."""
    assert read_error([(b"x-amzn-errortype", code)], b"") is None
    assert read_error([], b"") is None
