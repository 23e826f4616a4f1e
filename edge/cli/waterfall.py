"""Timeline of one recorded request for a terminal: facts, and a bar for each attempt, down to 20 columns.

The input is an object of ``/api/traces``. Phases differ by glyph, not only by colour, so a log file shows them too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rich.text import Text

NARROWEST: Final = 20
_MS: Final = 1_000_000
_S: Final = 1_000_000_000
# (glyph, substitute without Unicode, style, meaning), in order of time
PHASES: Final = (
    ("░", ".", "yellow", "connecting"),
    ("▒", "-", "cyan", "waiting"),
    ("▓", "=", "blue", "first byte"),
    ("█", "#", "green", "content"),
)
_FAILED: Final = ("!", "!", "bold red", "failed")
_QUEUED: Final = ("·", ":", "magenta", "queued")
_SERVER_ERROR: Final = 500
_FROM_CACHE: Final = ("hit", "joined", "stale")


def waterfall(trace: dict[str, Any], width: int, *, unicode: bool = True) -> list[Text]:
    """Return the lines that show one recorded exchange.

    Args:
        trace: an object of ``/api/traces``.
        width: columns of the terminal.
        unicode: whether block characters can be shown.
    """
    from rich.text import Text  # noqa: PLC0415

    width = max(width, NARROWEST)
    lines = [
        Text.assemble(
            (trace["request_id"] or "(no id)", "bold"),
            f"  {trace['method']} {trace['path']}  ",
            (status(trace), "red" if went_wrong(trace) else "green"),
            f"  {spell(trace['duration_ns'])}",
        ),
        Text(_facts(trace), style="dim"),
        Text(""),
    ]
    lines += [Text(f"passed over: {each}", style="dim") for each in trace.get("excluded", ())]
    if trace["queue_ns"]:
        lines += [Text(f"queued for {spell(trace['queue_ns'])}"), _queue(trace, width, unicode=unicode)]
    for number, attempt in enumerate(trace["attempts"], 1):
        lines += [_headline(number, attempt), _bar(attempt, trace["duration_ns"], width, unicode=unicode)]
    if not trace["attempts"]:
        lines.append(Text("answered from the cache" if trace["cache"] in _FROM_CACHE else "no target was tried"))
    lines += [_scale(trace["duration_ns"], width), _legend(unicode=unicode)]
    return lines


def went_wrong(trace: dict[str, Any]) -> bool:
    """Return whether the request failed or was broken off."""
    return bool(trace["kept"] == "failed" or trace["status"] >= _SERVER_ERROR or trace["status"] == 0)


def status(trace: dict[str, Any]) -> str:
    """Return what the client saw, in one word."""
    if trace["status"] <= 0:
        return "broken off" if trace["status"] == 0 else "client left"
    if trace["grpc"] and trace["grpc_status"] >= 0:
        return f"grpc {trace['grpc_status']}"
    return str(trace["status"])


def spell(ns: int) -> str:
    """Return a time in a suitable unit, s or ms."""
    if ns >= _S:
        return f"{ns / _S:.2f} s"
    return f"{ns / _MS:.0f} ms" if ns >= 10 * _MS else f"{ns / _MS:.1f} ms"


def _facts(trace: dict[str, Any]) -> str:
    facts = [f"trace {trace['trace_id']}", trace["kept"]]
    facts += [f"{name} {trace[name]}" for name in ("route", "region", "key") if trace[name]]
    if trace["first_ns"] >= 0:
        facts.append(f"first content {spell(trace['first_ns'])}")
    if trace["output_tokens"] >= 0:
        facts.append(f"{max(trace['prompt_tokens'], 0)} + {trace['output_tokens']} tokens")
    if trace["cost_nano"]:
        facts.append(f"${trace['cost_nano'] * 1e-9:.6f}")
    return ", ".join(facts)


def _headline(number: int, attempt: dict[str, Any]) -> Text:
    from rich.text import Text  # noqa: PLC0415

    outcome = attempt["outcome"] or "in progress"
    text = f"{outcome}: {attempt['detail']}" if attempt["detail"] else outcome
    if attempt["grpc_status"] >= 0:
        text += f", grpc {attempt['grpc_status']}"
    elif attempt["status"] and not attempt["detail"]:
        text += f", {attempt['status']}"
    if attempt["content_ns"] >= 0:
        text += f", first content after {spell(attempt['content_ns'] - attempt['started_ns'])}"
    if attempt.get("hedge"):
        text += "; a hedge, beside one that showed no content yet"
    if attempt["dropped_events"]:
        text += f"; {attempt['dropped_events']} malformed events were dropped"
    if attempt["tripped"]:
        text += "; this opened its circuit"
    style = "red" if attempt["detail"] else "green" if outcome == "ok" else "yellow"
    return Text.assemble(f"{number} ", (attempt["target"], "bold"), "  ", (text, style))


def _bar(attempt: dict[str, Any], duration_ns: int, width: int, *, unicode: bool) -> Text:
    """Draw an attempt from start to end, one glyph per column, at least one column wide."""
    began, ended = attempt["started_ns"], max(attempt["ended_ns"], attempt["started_ns"])
    first, last = _column(began, duration_ns, width), _column(ended, duration_ns, width)
    marks = [attempt["connected_ns"], attempt["head_ns"], attempt["content_ns"]]
    starts = [(began, 0 if marks[0] >= 0 else 1), *((at, phase) for phase, at in enumerate(marks, 1) if at >= 0)]
    glyphs = []
    for column in range(first, last + 1):
        phase = max(phase for at, phase in starts if _column(at, duration_ns, width) <= column)
        glyphs.append(PHASES[phase])
    if attempt["detail"]:
        glyphs[-1] = _FAILED
    return _drawn(first, glyphs, unicode=unicode)


def _queue(trace: dict[str, Any], width: int, *, unicode: bool) -> Text:
    return _drawn(0, [_QUEUED] * (_column(trace["queue_ns"], trace["duration_ns"], width) + 1), unicode=unicode)


def _drawn(indent: int, glyphs: list[tuple[str, str, str, str]], *, unicode: bool) -> Text:
    from rich.text import Text  # noqa: PLC0415

    return Text.assemble(" " * indent, *((shown if unicode else plain, style) for shown, plain, style, _ in glyphs))


def _column(ns: int, duration_ns: int, width: int) -> int:
    return min(max(ns, 0) * width // max(duration_ns, 1), width - 1)


def _scale(duration_ns: int, width: int) -> Text:
    from rich.text import Text  # noqa: PLC0415

    end, half = spell(duration_ns), spell(duration_ns // 2)
    middle = half.center(width - len("0") - len(end)) if width > 2 * NARROWEST else " " * (width - 1 - len(end))
    return Text(f"0{middle}{end}", style="dim")


def _legend(*, unicode: bool) -> Text:
    from rich.text import Text  # noqa: PLC0415

    parts = ((shown if unicode else plain, style, meaning) for shown, plain, style, meaning in (*PHASES, _FAILED))
    return Text.assemble(*(piece for glyph, style, name in parts for piece in ((glyph, style), (f" {name}  ", "dim"))))
