"""SigV4 over header fields gives the signatures that AWS publishes for its test suite."""

from __future__ import annotations

import calendar

import pytest

from edge.credentials.sigv4 import AwsKeys, Call, signed_fields

# AWS Signature Version 4 test suite (aws-sig-v4-test-suite): the same keys, time and scope for every case.
KEYS = AwsKeys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
NOW = calendar.timegm((2015, 8, 30, 12, 36, 0))
CASES: dict[str, tuple[str, str, dict[str, str], dict[str, str], str]] = {
    "get-vanilla": ("GET", "/", {}, {}, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    "post-vanilla": ("POST", "/", {}, {}, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    "get-vanilla-query-order-key-case": (
        "GET",
        "/",
        {"Param2": "value2", "Param1": "value1"},
        {},
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_published_signatures(name: str) -> None:
    """Method, path, query and fields are signed as the suite says."""
    method, path, query, more, signature = CASES[name]
    call = Call(method, "example.amazonaws.com", path, "us-east-1", "service")
    fields = signed_fields(call, KEYS, query, more, NOW)
    assert fields["x-amz-date"] == "20150830T123600Z"
    assert fields["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders=host;x-amz-date, Signature={signature}"
    )
