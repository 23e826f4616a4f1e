"""What a log line contains, and what it never contains."""

from __future__ import annotations

import io
import json
import logging

import pytest

from edge.telemetry import logs


def written(form: logs.Form, level: str = "info") -> io.StringIO:
    """Direct logging to memory."""
    out = io.StringIO()
    logs.set_up("worker 0", level=level, form=form, stream=out)
    return out


def test_json_is_one_object_per_line() -> None:
    """A line in JSON is one object with the facts, of any type."""
    out = written("json")
    logs.say(logs.WARNING, "a target is ill", target="a/b", for_s=1.5, odd=object, message="kept apart")
    logs.say(logs.DEBUG, "too quiet")
    (line,) = out.getvalue().splitlines()
    said = json.loads(line)
    assert said["level"] == "warning"
    assert (said["process"], said["message"], said["target"], said["for_s"]) == (
        "worker 0",
        "a target is ill",
        "a/b",
        1.5,
    )
    assert said["message_"] == "kept apart"
    assert said["time"].endswith("Z")


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_secret_is_written(form: logs.Form) -> None:
    """A concealed value appears neither in sentences, facts and tracebacks nor as the last word of a header."""
    out = written(form)
    logs.redact(["Bearer sk-0123456789", "", "short"])
    logs.say(logs.INFO, "key sk-0123456789 used", field="Bearer sk-0123456789", word="short")
    try:
        raise ValueError("refused sk-0123456789")  # noqa: TRY301 - a traceback is wanted
    except ValueError as error:
        logs.say_failure("it failed", error)
    text = out.getvalue()
    assert "0123456789" not in text
    assert "***" in text
    assert "short" in text
    assert "ValueError" in text


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_secret_is_found_in_every_spelling(form: logs.Form) -> None:
    """Concealed: a secret that begins with another, one with JSON escapes, and one beside a lone surrogate."""
    out = written(form)
    logs.redact(["sk-012345", "sk-0123456789abcdef", 'pass"word\\9876'])
    logs.say(logs.INFO, "seen", long="sk-0123456789abcdef", odd='pass"word\\9876', name="a\udc80b sk-0123456789abcdef")
    text = out.getvalue()
    assert not [word for word in ("6789", "abcdef", "9876", "word") if word in text]
    assert text.count("***") == 3


def test_renewed_secrets_do_not_pile_up() -> None:
    """A token is concealed until an hour after its end; then it is forgotten, and a year of tokens costs no time."""
    for hour in range(24 * 365):
        logs.redact_until(f"passing-{hour:06d}", hour * 3600.0 + 3600, hour * 3600.0)
    now = 24 * 365 * 3600.0
    assert logs.without_secrets("passing-000000 passing-008758 passing-008759") == "passing-000000 *** ***"
    logs.redact_until("passing-again", now + 1, now + 7201)
    assert logs.without_secrets("passing-008759 passing-again") == "passing-008759 ***"


@pytest.mark.parametrize("form", ["json", "console"])
def test_what_others_said_neither_ends_a_line_nor_steers_a_terminal(form: logs.Form) -> None:
    """Line breaks, escape sequences and C1 controls are escaped; a traceback keeps its lines."""
    out = written(form)
    said = "a\n12:00:00 ERROR control: forged\r\x1b[2J\x9b31m\x7f\x85"
    logs.say(logs.WARNING, f"it said {said}", why=said, many=[said])
    try:
        raise ValueError(said)  # noqa: TRY301 - a traceback is wanted
    except ValueError as error:
        logs.say_failure("it failed", error)
    text = out.getvalue()
    assert not [code for code in text if not code.isprintable() and code != "\n"]
    first = text.splitlines()[0]
    assert first.count("forged") == 3
    if form == "json":
        assert json.loads(first)["why"] == said


def test_console_reads_as_a_sentence() -> None:
    """A line for people has time, level, process, sentence and facts."""
    out = written("console")
    logs.say(logs.ERROR, "it broke", why="reasons")
    assert out.getvalue()[8:] == " ERROR worker 0: it broke  why=reasons\n"


def test_a_flood_of_one_kind_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sentence is written at most so many times a second; the rest is counted in one line."""
    now = 1000.25
    monkeypatch.setattr(logs.time, "time", lambda: now)
    monkeypatch.setattr(logging.time, "time", lambda: now)
    monkeypatch.setattr(logging.time, "time_ns", lambda: int(now * 1e9), raising=False)
    out = io.StringIO()
    logs.set_up("worker 0", form="json", stream=out, per_second=3)
    for number in range(10):
        logs.say(logs.WARNING, "request failed", number=number)
    logs.say(logs.WARNING, "something else")
    logs.tell_suppressed()
    said = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["message"] for line in said] == ["request failed"] * 3 + ["something else"]
    now = 1001.0
    logs.tell_suppressed()
    logs.say(logs.WARNING, "request failed", number=11)
    said = [json.loads(line) for line in out.getvalue().splitlines()][4:]
    assert [(line["message"], line.get("like")) for line in said] == [
        ("suppressed 7 lines", "request failed"),
        ("request failed", None),
    ]


def test_without_a_limit_every_line_is_written() -> None:
    """A limit of 0 means no limit."""
    out = io.StringIO()
    logs.set_up("worker 0", form="json", stream=out)
    for _ in range(500):
        logs.say(logs.INFO, "a line")
    assert len(out.getvalue().splitlines()) == 500


def test_unknown_level_is_refused() -> None:
    """An unknown level is an error that lists the known levels."""
    with pytest.raises(ValueError, match="debug, info, warning, error"):
        written("json", "loud")
