"""Spans that are written from cached parts equal the spans that the SDK would have encoded."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from edge.config.load import read_text
from edge.control.compose import checked, compile_config
from edge.telemetry import names
from edge.telemetry.encoding import SpanEncoder
from edge.telemetry.spans import SpanBuilder
from edge.terms.trace import AttemptRecord, ExchangeRecord
from native.codec.span_writer import SpanWriter
from tests.reference import spanwriter as twin

PLAN = compile_config(
    checked(
        read_text(
            """
            node: {region: test, name: node-1}
            providers:
              one: {base_url: "http://[::1]:9/v1", api_key: sk-none-of-yours}
              two: {base_url: "https://two.test/v1", api_key: sk-none-of-yours}
            models:
              chat: {targets: [one/small, {target: two/big, tier: 2}]}
            services:
              billing: {match: {host: billing.internal, path: /api/}, targets: ["127.0.0.1:9", "[::1]:8"]}
              echo: {match: {grpc: test.Echo}, targets: ["127.0.0.1:7"]}
            """,
            "test.yaml",
            environ={},
        )
    ),
    now=1_700_000_000.0,
)
TARGETS = (*(target.id for target in PLAN.targets), "gone/target")
ROUTES = ("chat", "billing", "echo", "gone")

IDS = st.integers(1, 2**64 - 1).map(lambda number: f"{number:016x}")
TRACES = st.integers(1, 2**128 - 1).map(lambda number: f"{number:032x}")
TIMES = st.one_of(st.just(-1), st.integers(0, 10**4), st.integers(0, 2**40))
CODES = st.one_of(st.integers(-1, 17), st.just(99))
# every length that needs another byte, and every kind of character
TEXTS = st.one_of(
    st.sampled_from(["", "/api/x", "/test.Echo/Talk", "é" * 63 + "/", "/" * 127, "/" * 128, "ÿ" * 256]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    st.integers(0, 17_000).map(lambda size: "/" * size),
)
WORDS = st.sampled_from(["", "a", "status 500", "é"])

ATTEMPTS = st.builds(
    AttemptRecord,
    target=st.sampled_from(TARGETS),
    outcome=st.sampled_from(["", "ok", "cancelled", "fail_connect", "fail_status"]),
    detail=WORDS,
    span_id=IDS,
    started_ns=st.integers(0, 2**40),
    connected_ns=TIMES,
    asked_ns=TIMES,
    head_ns=TIMES,
    content_ns=TIMES,
    ended_ns=TIMES,
    status=st.sampled_from([0, 200, 404, 500]),
    grpc_status=CODES,
    pushback_ms=st.just(-2),
    tripped=st.booleans(),
    dropped_events=st.integers(0, 3),
    hedge=st.booleans(),
)
RECORDS = st.builds(
    ExchangeRecord,
    request_id=st.sampled_from(["", "0123456789ab00000001", "x"]),
    trace_id=TRACES,
    span_id=IDS,
    parent_span_id=st.one_of(st.just(""), IDS),
    link=st.one_of(st.just(""), st.builds("{}-{}".format, TRACES, IDS)),
    sampled=st.booleans(),
    kept=st.sampled_from(["sampled", "failed", "slow", "retried"]),
    worker=st.integers(0, 3),
    route=st.sampled_from(ROUTES),
    kind=st.sampled_from(["model", "service", ""]),
    method=st.sampled_from(["POST", "GET", "BREW"]),
    http_version=st.sampled_from([10, 11, 20, 30]),
    scheme=st.sampled_from(["http", "https"]),
    path=TEXTS,
    operation=st.sampled_from(["", "chat", "completions", "embeddings", "responses"]),
    grpc=st.booleans(),
    model=st.sampled_from(["", "chat", "two/big", "two/é"]),
    status=st.sampled_from([-1, 0, 200, 404, 499, 500, 503]),
    grpc_status=CODES,
    stream=st.booleans(),
    key=WORDS,
    priority=WORDS,
    started_ns=st.integers(1, 2**62),
    duration_ns=st.integers(0, 2**40),
    first_ns=TIMES,
    prompt_tokens=st.one_of(st.integers(-1, 130), st.integers(0, 2**62)),
    output_tokens=st.one_of(st.integers(-1, 130), st.integers(0, 2**62)),
    cost_nano=st.integers(0, 3),
    region=st.sampled_from(["eu", ""]),
    hops=st.integers(0, 2),
    queue_ns=st.integers(0, 2),
    cache=st.sampled_from(["", "hit", "miss"]),
    attempts=st.lists(ATTEMPTS, max_size=3).map(tuple),
)

BUILDER = SpanBuilder(PLAN)
ENCODER = SpanEncoder(BUILDER)  # knows what all examples before have taught it


@settings(max_examples=80)
@given(st.lists(RECORDS, min_size=1, max_size=4))
def test_what_is_written_is_what_the_sdk_encodes(records: list[ExchangeRecord]) -> None:
    """The same resource, scope and spans in the same order, whatever was encoded before."""
    assert twin.read(ENCODER.encode(records)) == twin.encode(BUILDER, records)


ATTEMPT = AttemptRecord(
    target=TARGETS[0],
    outcome="fail_status",
    detail="status 500",
    span_id="a" * 16,
    started_ns=1,
    connected_ns=2,
    asked_ns=3,
    head_ns=6,
    content_ns=7,
    ended_ns=10,
    status=500,
    grpc_status=14,
    pushback_ms=-2,
    tripped=False,
    dropped_events=0,
)
RECORD = ExchangeRecord(
    request_id="0123456789ab00000001",
    trace_id="1" * 32,
    span_id="2" * 16,
    parent_span_id="",
    link="",
    sampled=True,
    kept="sampled",
    worker=0,
    route="chat",
    kind="model",
    method="POST",
    http_version=11,
    scheme="http",
    path="/v1/chat/completions",
    operation="chat",
    grpc=False,
    model="chat",
    status=503,
    grpc_status=-1,
    stream=False,
    key="",
    priority="",
    started_ns=10**18,
    duration_ns=10,
    first_ns=6,
    prompt_tokens=-1,
    output_tokens=-1,
    cost_nano=0,
    region="eu",
    hops=0,
    queue_ns=0,
    cache="",
    attempts=(ATTEMPT,),
)
OTHER: dict[str, Any] = {
    "parent_span_id": "b" * 16,
    "link": f"{'c' * 32}-{'d' * 16}",
    "kept": "slow",
    "kind": "service",
    "operation": "responses",
    "scheme": "https",
    "target": TARGETS[1],
    "attempts": (),
}


def changed(this: Any, name: str) -> Any:
    """Return a copy with another value in one place."""
    value = getattr(this, name)
    if name in OTHER:
        value = OTHER[name]
    elif isinstance(value, bool):
        value = not value
    elif isinstance(value, int):
        value += 1
    else:
        value = value[:-1] + "0" if value else "x"
    return structs.replace(this, **{name: value})


@pytest.mark.parametrize("grpc", [False, True], ids=["http", "grpc"])
@pytest.mark.parametrize("kind", ["model", "service"])
@pytest.mark.parametrize("outcome", ["ok", "fail_status"])
def test_no_field_is_taken_from_another_record(kind: str, outcome: str, *, grpc: bool) -> None:
    """A record that differs in one field from all earlier ones is not written with a cached field."""
    failed = structs.replace(ATTEMPT, outcome=outcome, detail="" if outcome == "ok" else "status 500")
    base = structs.replace(RECORD, kind=kind, grpc=grpc, attempts=(failed,))
    builder = SpanBuilder(PLAN)
    encoder = SpanEncoder(builder)
    assert twin.read(encoder.encode([base])) == twin.encode(builder, [base])
    for name in ExchangeRecord.__struct_fields__:
        record = changed(base, name)
        assert twin.read(encoder.encode([record])) == twin.encode(builder, [record]), name
    for name in AttemptRecord.__struct_fields__:
        record = structs.replace(base, attempts=(changed(failed, name),))
        assert twin.read(encoder.encode([record])) == twin.encode(builder, [record]), name


def test_a_new_plan_is_told_of() -> None:
    """A target's address, and a service's path, are those of the newest Snapshot."""
    builder = SpanBuilder(PLAN)
    encoder = SpanEncoder(builder)
    encoder.encode([RECORD])
    encoder.learn(structs.replace(PLAN, targets=tuple(structs.replace(one, host="moved.test") for one in PLAN.targets)))
    text = twin.read(encoder.encode([RECORD]))
    assert text == twin.encode(builder, [RECORD])
    assert "moved.test" in text


def test_shapes_are_bounded() -> None:
    """A caller that invents a model for each request does not fill the memory, and its spans are correct."""
    asked: list[str] = []
    builder = SpanBuilder(PLAN)
    encoder = SpanEncoder(builder)

    def server(record: ExchangeRecord) -> bytes:
        asked.append(record.model)
        return b""

    writer = SpanWriter(names, server, lambda *_: (b"", b"", b"", False), 8)
    for number in range(100):
        record = structs.replace(RECORD, model=f"invented-{number}")
        for _ in range(2):
            writer.write([record])
        assert writer.held <= 2 * writer.most
        assert twin.read(encoder.encode([record])) == twin.encode(builder, [record])
    assert len(asked) == 100


@pytest.mark.parametrize("name", ["trace_id", "span_id", "parent_span_id"])
@pytest.mark.parametrize("value", ["1", "g" * 16, "g" * 32, "A" * 16, "é" * 8])
def test_what_is_no_id_is_refused(name: str, value: str) -> None:
    """A malformed id raises, and the next spans are correct."""
    builder = SpanBuilder(PLAN)
    encoder = SpanEncoder(builder)
    with pytest.raises(ValueError, match="id"):
        encoder.encode([RECORD, structs.replace(RECORD, **{name: value})])
    assert twin.read(encoder.encode([RECORD])) == twin.encode(builder, [RECORD])
