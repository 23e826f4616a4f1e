"""Which requests get a line in the access log, what the line holds, and which trace represents a bucket."""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING

import msgspec
import pytest
from msgspec import structs
from records import MS, attempt, record

from edge.native import HIST_BOUNDS_S
from edge.telemetry import catalog, logs
from edge.telemetry.access import Access, AccessLog, common, facts
from edge.telemetry.exemplars import ExemplarBook
from edge.telemetry.line_writer import MOST_BATCHES, LineWriter

if TYPE_CHECKING:
    from edge.terms.trace import ExchangeRecord

TRIED = attempt(
    target="a/m",
    outcome="fail_status",
    detail="status 503",
    started_ns=0,
    connected_ns=-1,
    head_ns=12 * MS,
    content_ns=-1,
    ended_ns=12 * MS,
    status=503,
)
RECORD = record(
    request_id="r1",
    trace_id="f" * 32,
    worker=1,
    stream=True,
    key="team",
    priority="normal",
    started_ns=1_700_000_000_000_000_000,
    duration_ns=250 * MS,
    first_ns=20 * MS,
    prompt_tokens=7,
    output_tokens=9,
    cost_nano=1500,
    attempts=(TRIED,),
)


def lines(mode: Access, *records: ExchangeRecord) -> list[tuple[int, str]]:
    """Return the log lines of a batch: (level, request id)."""
    said: list[tuple[int, str]] = []
    AccessLog(mode, lambda level, _sentence, **known: said.append((level, str(known["request_id"])))).take(records)
    return said


def test_who_gets_a_line() -> None:
    """Off: no requests; errors: requests that failed through no fault of the client; sampled: sampled requests too."""
    good = RECORD
    batch = [
        good,
        structs.replace(good, request_id="503", status=503, kept="failed"),
        structs.replace(good, request_id="broken", status=0, kept="failed"),
        structs.replace(good, request_id="call", grpc_status=14, kept="failed"),
        structs.replace(good, request_id="left", status=-1, kept="slow"),
        structs.replace(good, request_id="own fault", status=400),
    ]
    assert lines("off", *batch) == []
    wrong = [(logs.WARNING, "503"), (logs.WARNING, "broken"), (logs.WARNING, "call")]
    assert lines("errors", *batch) == wrong
    both = lines("sampled", *batch)
    assert [line for line in both if line[0] == logs.WARNING] == wrong
    assert [name for level, name in both if level == logs.INFO] == ["r1", "left", "own fault"]


def test_a_line_says_how_it_went() -> None:
    """A line has request, route, status, times in milliseconds, tokens, cost, and each attempt with its reason."""
    said = facts(structs.replace(RECORD, status=0))
    assert said == {
        "request_id": "r1",
        "trace_id": "f" * 32,
        "route": "chat",
        "kind": "model",
        "status": "broken",
        "duration_ms": 250.0,
        "first_ms": 20.0,
        "key": "team",
        "stream": True,
        "prompt_tokens": 7,
        "output_tokens": 9,
        "cost_usd": 1.5e-06,
        "reason": "fail_status: status 503",
        "attempts": ["a/m: fail_status (status 503) after 12.0 ms"],
        "worker": 1,
    }


def test_what_a_caller_wrote_is_in_no_line() -> None:
    """Path, method and the model's name come from the caller, and are never in a line."""
    said = str(facts(structs.replace(RECORD, path="/SECRET", method="SECRET", model="SECRET", link="SECRET")))
    assert "SECRET" not in said


def test_the_last_sampled_request_stands_for_its_bucket() -> None:
    """Each sampled request with a route is the exemplar of the bucket in which it is counted."""
    book = ExemplarBook()
    later = structs.replace(RECORD, trace_id="e" * 32)
    book.take(
        [RECORD, later, structs.replace(RECORD, sampled=False, trace_id="d" * 32), structs.replace(RECORD, route="")]
    )
    total = HIST_BOUNDS_S.index(0.3)
    first = HIST_BOUNDS_S.index(0.02)
    assert set(book.found) == {
        (catalog.ROUTE_TOTAL.name, ("chat",), total),
        (catalog.TIME_TO_FIRST_TOKEN.name, ("chat",), first),
    }
    exemplar = book.found[catalog.ROUTE_TOTAL.name, ("chat",), total]
    assert (exemplar.trace_id, exemplar.value) == ("e" * 32, 0.25)
    assert exemplar.when == pytest.approx(1_700_000_000.25)


@pytest.mark.parametrize(
    ("took_ns", "place"),
    [(1_000_999, 0), (1_001_000, 1), (120_000_000_000, len(HIST_BOUNDS_S) - 1), (121_000_000_000, len(HIST_BOUNDS_S))],
)
def test_an_exemplar_fits_its_bucket(took_ns: int, place: int) -> None:
    """A value on a bound belongs to that bucket, as in the shared state; no exemplar exceeds its bucket."""
    book = ExemplarBook()
    book.take([structs.replace(RECORD, duration_ns=took_ns, first_ns=-1)])
    (key,) = book.found
    assert key[2] == place
    assert place == len(HIST_BOUNDS_S) or book.found[key].value <= HIST_BOUNDS_S[place]


def test_a_line_of_the_common_log_format() -> None:
    """The line is Apache's, in UTC, and nothing in it can end a part of it early or control a terminal."""
    good = structs.replace(RECORD, client="192.0.2.7", sent_bytes=41)
    assert common(good) == (
        '192.0.2.7 - team [14/Nov/2023:22:13:20 +0000] "POST /v1/chat/completions HTTP/1.1" 200 41\n'
    )
    odd = structs.replace(good, client="", key='a "b', path='/a"\\\x1b[1m', http_version=20, status=-1, sent_bytes=0)
    assert common(odd) == ('- - a\\x20\\"b [14/Nov/2023:22:13:20 +0000] "POST /a\\"\\\\\\x1b[1m HTTP/2.0" 499 -\n')


def test_all_requests_are_written_and_none_is_said() -> None:
    """Lines of ``all`` are not events: they go to the writer, one per record, without secrets."""
    written: list[str] = []
    logs.redact(["sk-0123456789abcdef"])
    log = AccessLog("all", say=lambda *_, **__: pytest.fail("an event was logged"), write=written.append)
    log.take([RECORD, structs.replace(RECORD, kept="logged", path="/a/sk-0123456789abcdef")])
    lines = [msgspec.json.decode(line) for line in "".join(written).splitlines()]
    assert [line["path"] for line in lines] == ["/v1/chat/completions", "/a/***"]
    assert lines[0]["time"] == "2023-11-14T22:13:20.000Z"


def test_a_reader_that_stops_holds_up_nobody() -> None:
    """What the reader does not take is dropped and counted, and the rest comes in order."""
    began, release = threading.Event(), threading.Event()
    taken: list[str] = []

    class Slow(io.StringIO):
        def write(self, text: str) -> int:
            began.set()
            release.wait(20)
            taken.append(text)
            return len(text)

    writer = LineWriter(Slow())
    for number in range(MOST_BATCHES + 100):
        writer.write(f"{number}\n")
        assert began.wait(20)  # else it could begin once others were dropped
    release.set()
    writer.close(20)
    assert taken == [f"{number}\n" for number in range(MOST_BATCHES + 1)]


def test_a_hedge_is_said() -> None:
    """The attempts of a line say which of them was a hedge, and how the other one ended."""
    lost = attempt(target="a/m", outcome="cancelled", ended_ns=300 * MS)
    won = attempt(target="b/m", outcome="ok", hedge=True, started_ns=200 * MS, ended_ns=300 * MS)
    assert facts(record(attempts=(lost, won)))["attempts"] == [
        "a/m: cancelled after 299.0 ms",
        "b/m as a hedge: ok after 100.0 ms",
    ]
