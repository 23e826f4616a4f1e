"""The log of a process: one line per event, readable text on a terminal and JSON otherwise.

A line is a sentence plus facts: ``say(INFO, "worker serves", worker=0, pid=17)``. Credentials never reach a line:
code that learns a secret calls :func:`redact`, and every line, tracebacks included, is searched for it before it is
written. Text from third parties is escaped, so that it can neither end a line nor control a terminal. Lines of one kind
that come too often are suppressed and counted: ``suppressed 812 lines``. Nothing here is called per request.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import time
from collections import Counter
from typing import IO, TYPE_CHECKING, Any, Final, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DEBUG: Final = logging.DEBUG
INFO: Final = logging.INFO
WARNING: Final = logging.WARNING
ERROR: Final = logging.ERROR

Form = Literal["auto", "console", "json"]

# Replacing shorter values (an empty key, "x", "test") would mangle ordinary words in unrelated lines.
_SHORTEST_SECRET: Final = 8
_LOG: Final = logging.getLogger("edge")
_LETTERS: Final = {logging.DEBUG: "debug", logging.INFO: "info", logging.WARNING: "WARN", logging.ERROR: "ERROR"}
_secrets: list[str] = []  # longest first, because one may be a prefix of another
_passing: dict[str, float] = {}  # those that expire, with the Unix time until which they are looked for
# How long a token is looked for after it has expired: errors and clocks may be late.
_AFTER_S: Final = 3600.0
# Characters that control a terminal: C0 and C1 controls, and DEL.
_CONTROLS: Final = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}
_PLAIN_LINES: Final = {code: said for code, said in _CONTROLS.items() if code not in (0x09, 0x0A)}
# JSON itself escapes the first 32.
_IN_JSON: Final = {code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)}


def redact(secrets: Iterable[str]) -> None:
    """Replace each of these values with ``***`` from now on, in every line of this process."""
    for secret in secrets:
        # In a field such as "Bearer KEY" the last word alone is the secret; JSON writes some characters differently.
        for part in (secret, secret.rpartition(" ")[2]):
            for form in (part, _quoted(part)):
                if len(form) >= _SHORTEST_SECRET and form not in _secrets:
                    _secrets.append(form)
    _secrets.sort(key=len, reverse=True)


def redact_until(secret: str, expires: float, now: float) -> None:
    """Replace a value with ``***`` until an hour after it has expired, so that renewed ones do not pile up.

    Args:
        secret: the value.
        expires: Unix time at which nobody takes it any more.
        now: Unix time.
    """
    for known in [known for known, until in _passing.items() if until < now]:
        del _passing[known]
    if len(secret) >= _SHORTEST_SECRET:
        _passing[secret] = expires + _AFTER_S


def _quoted(text: str) -> str:
    """Return a text as it appears within JSON."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def without_secrets(text: str) -> str:
    """Return the text with every secret replaced."""
    for secret in (*_secrets, *_passing):
        if secret in text:
            text = text.replace(secret, "***")
    return text


def say(level: int, sentence: str, /, **facts: object) -> None:
    """Log one event: a sentence that is complete by itself, and facts for machines."""
    _LOG.log(level, sentence, extra={"facts": facts})


def say_failure(sentence: str, error: BaseException, /, **facts: object) -> None:
    """Log an unexpected exception with its traceback, for events that indicate a defect in edge."""
    _LOG.error(sentence, exc_info=error, extra={"facts": facts})


def _facts(record: logging.LogRecord) -> Mapping[str, Any]:
    facts = record.__dict__.get("facts")
    return facts if isinstance(facts, dict) else {}


class _Console(logging.Formatter):
    """Formats a line as ``12:00:01 WARN  worker 0: sentence  key=value`` for a terminal."""

    def __init__(self, who: str) -> None:
        super().__init__()
        self._who = who

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        line = f"{clock} {_LETTERS.get(record.levelno, record.levelname):5} {self._who}: {record.getMessage()}"
        line += "".join(f"  {name}={value}" for name, value in _facts(record).items())
        line = without_secrets(line).translate(_CONTROLS)
        if record.exc_info:
            line += "\n" + without_secrets(self.formatException(record.exc_info)).translate(_PLAIN_LINES)
        return line


class _Json(logging.Formatter):
    """Formats a line as a JSON object, with UTC time in milliseconds."""

    def __init__(self, who: str) -> None:
        super().__init__()
        self._who = who

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, object] = {
            "time": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "process": self._who,
            "message": record.getMessage(),
        }
        for name, value in _facts(record).items():
            line[name if name not in line else f"{name}_"] = value
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        try:
            text = msgspec.json.encode(line, enc_hook=str).decode()
        except UnicodeEncodeError:  # the name of a file or a key that is not valid text
            text = json.dumps(line, default=str)
        return without_secrets(text).translate(_IN_JSON)


class _Sink(logging.StreamHandler[IO[str]]):
    """Writes at most so many lines of one kind (a sentence) per second; 0: all. Its lock is held while it writes."""

    def __init__(self, stream: IO[str], per_second: int) -> None:
        super().__init__(stream)
        self._most = per_second
        self._second = 0
        self._written: Counter[str] = Counter()
        self._left_out: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, unless too many of its kind were written in this second."""
        self.turn(int(record.created))
        sentence = str(record.msg)
        self._written[sentence] += 1
        if self._most and self._written[sentence] > self._most:
            self._left_out[sentence] += 1
        else:
            super().emit(record)

    def turn(self, second: int) -> None:
        """Begin another second, and report what was suppressed in the previous one."""
        if second == self._second:
            return
        self._second = second
        left_out, self._left_out = self._left_out, Counter()
        self._written.clear()
        for sentence, count in left_out.items():
            facts = {"facts": {"like": sentence}}
            said = f"suppressed {count} line{'s' if count > 1 else ''}"
            super().emit(_LOG.makeRecord(_LOG.name, WARNING, "", 0, said, (), None, extra=facts))


def tell_suppressed() -> None:
    """Report suppressed lines once their second is over; called at intervals, because no further line may come."""
    for sink in logging.getLogger().handlers:
        if isinstance(sink, _Sink):
            with sink.lock or contextlib.nullcontext():
                sink.turn(int(time.time()))


def set_up(
    who: str, *, level: str = "info", form: Form = "auto", stream: IO[str] | None = None, per_second: int = 0
) -> None:
    """Direct all logging of this process, third-party libraries included, to one stream.

    Args:
        who: name of this process, for example ``"worker 0"``.
        level: ``debug``, ``info``, ``warning`` or ``error``.
        form: ``console``, ``json``, or ``auto``, which means ``console`` on a terminal and ``json`` otherwise.
        stream: where to write; None means stderr.
        per_second: maximum number of lines of one kind per second; 0 means no limit.

    Raises:
        ValueError: the level is not one of the four.
    """
    out = stream if stream is not None else sys.stderr
    levels = {"debug": DEBUG, "info": INFO, "warning": WARNING, "error": ERROR}
    if level.lower() not in levels:
        raise ValueError(f"log level {level!r} is unknown; use one of {', '.join(levels)}")
    people = form == "console" or (form == "auto" and out.isatty())
    sink = _Sink(out, per_second)
    sink.setFormatter(_Console(who) if people else _Json(who))
    root = logging.getLogger()
    root.handlers[:] = [sink]
    root.setLevel(WARNING)
    _LOG.setLevel(levels[level.lower()])
