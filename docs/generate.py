"""Writes the tables of the documents that come from the code: ``python -m docs.generate``. A test compares them.

It also copies the playbooks into the package, which shows them where the documents are not installed.

A table stands between ``<!-- from the code: NAME -->`` and ``<!-- end -->``; everything around it is written by hand.
"""

# ruff: noqa: INP001  # a script beside the documents, not a package

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge.balance.outcomes import ACTIONS, REGION_ROWS, ROWS, RegionRow, Row
from edge.config.schema import Config
from edge.config.shape import Field, Scalar, Section, Sequence, Shape, Table, section_of
from edge.config.show import plain
from edge.listen import reply
from edge.providers import KNOWN
from edge.providers.wordings import WORDINGS
from edge.telemetry.catalog import ALL
from edge.terms.target_state import CAPABILITY_DOWN, MISSING, PASSED_OVER, REPORTED, STATES, TRIED, USABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE: Final = Path(__file__).parent
PACKAGED: Final = HERE.parent / "edge" / "incidents" / "playbooks"
PART: Final = re.compile(r"(<!-- from the code: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def fields() -> str:
    """Return every section and field of edge.yaml."""
    seen: set[object] = set()
    return "\n".join(_sections("", section_of(Config), seen))


def statuses() -> str:
    """Return what each status means, in the three variants."""
    lines = [
        "| status | model | `provider/model` chosen by the caller | service | why |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in ROWS:
        actions = " | ".join(ACTIONS[code] for code in (row.model, row.wildcard, row.service))
        lines.append(f"| {_span(row)} | {actions} | {row.why} |")
    return "\n".join(lines) + "\n"


def regions() -> str:
    """Return what each status of another region's edge means."""
    lines = ["| status | means | why |", "| --- | --- | --- |"]
    lines += [f"| {_span(row)} | {ACTIONS[row.action]} | {row.why} |" for row in REGION_ROWS]
    return "\n".join(lines) + "\n"


def hints() -> str:
    """Return the texts in bodies that change what a status means."""
    lines = [
        "| provider | status | text in the body | model | chosen by the caller |",
        "| --- | --- | --- | --- | --- |",
    ]
    for provider in KNOWN.values():
        for hint in provider.hints:
            actions = f"{ACTIONS[hint.action]} | {ACTIONS[hint.wildcard]}"
            lines.append(f"| {provider.name} | {hint.status} | `{hint.needle.decode()}` | {actions} |")
    return "\n".join(lines) + "\n"


def wordings() -> str:
    """Return the words in bodies of all providers that change what a status means, grouped by what they mean."""
    lines = ["| status | words in the body | model | chosen by the caller |", "| --- | --- | --- | --- |"]
    rows: dict[tuple[str, str, str], list[str]] = {}
    for wording in WORDINGS:
        key = (", ".join(map(str, wording.statuses)), ACTIONS[wording.action], ACTIONS[wording.wildcard])
        words = " and ".join(f"``{word.decode()}``" if b"`" in word else f"`{word.decode()}`" for word in wording.words)
        rows.setdefault(key, []).append(words)
    lines += [f"| {status} | {'; '.join(words)} | {act} | {chosen} |" for (status, act, chosen), words in rows.items()]
    return "\n".join(lines) + "\n"


def passed_over() -> str:
    """Return the reasons why a target of a better tier did not answer."""
    words = [(state.label, state.sentence) for state in STATES if state not in (USABLE, TRIED, CAPABILITY_DOWN)]
    lacks = [(reply.passed_over(CAPABILITY_DOWN.code, part), reason.sentence) for part, reason in MISSING.items()]
    lines = ["| word | why |", "| --- | --- |"]
    rows = [f"| `{word}` | {_stated(why)} |" for word, why in [*words, *lacks, PASSED_OVER]]
    return "\n".join(lines + rows) + "\n"


def target_states() -> str:
    """Return the states that a target may be shown in."""
    lines = ["| state | severity | meaning |", "| --- | --- | --- |"]
    return (
        "\n".join(lines + [f"| `{state.label}` | {state.severity} | {_stated(state.sentence)} |" for state in REPORTED])
        + "\n"
    )


def providers() -> str:
    """Return what edge knows about each provider."""
    lines = [
        "| name | base URL | jurisdiction | capabilities | free probe | from the environment |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for known in KNOWN.values():
        variables = ", ".join(f"`{name}`" for name in (*known.key_variables, known.url_variable))
        probe = f"`GET {known.probe}`" if known.probe else "none in this dialect"
        offered = ", ".join(known.capabilities)
        law = "its region's" if known.laws else known.jurisdiction
        url = known.base_url or known.regional_url.replace("{domain}", "amazonaws.com")
        lines.append(f"| {known.name} | `{url}` | {law} | {offered} | {probe} | {variables} |")
    return "\n".join(lines) + "\n"


def lacks() -> str:
    """Return what edge does not know of each provider, and why."""
    lines = ["| provider | limits in the fields | not known, and why |", "| --- | --- | --- |"]
    for known in KNOWN.values():
        told = ", ".join(f"`{front}*`" for front in known.limit_fields)
        lines.append(f"| {known.name} | {told} | {'; '.join(f'{fact}: {why}' for fact, why in known.lacks.items())} |")
    return "\n".join(lines) + "\n"


def metrics() -> str:
    """Return every metric of the catalogue."""
    lines = ["| metric | kind | labels | meaning |", "| --- | --- | --- | --- |"]
    for metric in ALL:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        lines.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |")
    return "\n".join(lines) + "\n"


def prices() -> str:
    """Return the prices that edge knows, with their dates."""
    lines = ["| provider | upstream model | prompt | answer | cached prompt | sound in a prompt | as of |"]
    lines.append("| --- | --- | --- | --- | --- | --- | --- |")
    for known in KNOWN.values():
        for model, (prompt, answer, *cached) in known.prices.items():
            read = f"{cached[0]:g}" if cached else ""
            sound = f"{known.spoken[model]:g}" if model in known.spoken else ""
            lines.append(f"| {known.name} | {model} | {prompt:g} | {answer:g} | {read} | {sound} | {known.priced} |")
    return "\n".join(lines) + "\n"


PARTS: Final[dict[str, Callable[[], str]]] = {
    "fields": fields,
    "statuses": statuses,
    "hints": hints,
    "wordings": wordings,
    "regions": regions,
    "passed_over": passed_over,
    "target_states": target_states,
    "providers": providers,
    "prices": prices,
    "lacks": lacks,
    "metrics": metrics,
}


def filled(text: str) -> str:
    """Return a document with every table as the code has it now."""
    return PART.sub(lambda match: f"{match[1]}{PARTS[match[2]]()}{match[3]}", text)


def documents() -> list[Path]:
    """Return the documents that have such tables."""
    return [path for path in sorted(HERE.glob("*.md")) if PART.search(path.read_text(encoding="utf-8"))]


def _stated(sentence: str) -> str:
    return f"{sentence[0].upper()}{sentence[1:]}."


def _span(row: Row | RegionRow) -> str:
    return str(row.first) if row.first == row.last else f"{row.first}-{row.last}"


def _sections(path: str, section: Section, seen: set[object]) -> Iterator[str]:
    seen.add(section.type)
    yield f"### {f'`{path}`' if path else 'The file'}\n"
    yield section.sentence + "\n"
    yield "| key | written as | default | what it does |"
    yield "| --- | --- | --- | --- |"
    for field in section.fields:
        yield f"| `{field.name}` | {_written(field.shape)} | {_default(field)} | {field.sentence} |"
    yield ""
    for field in section.fields:
        inner, under = field.shape, f"{path}.{field.name}".lstrip(".")
        if isinstance(inner, Table):
            inner, under = inner.item, f"{under}.NAME"
        elif isinstance(inner, Sequence):
            inner, under = inner.item, f"{under}[]"
        if isinstance(inner, Section) and inner.type not in seen:
            yield from _sections(under, inner, seen)


def _written(shape: Shape) -> str:
    match shape:
        case Scalar(kind="choice", choices=choices):
            return " or ".join(f"`{choice}`" for choice in choices)
        case Scalar(kind=kind):
            named = {"flag": "true or false", "integer": "whole number", "path": "file", "share": "percentage"}
            named["delay"] = "percentile or duration"
            return named.get(kind, kind)
        case Section():
            return "text or section" if shape.short else "section"
        case Table():
            return f"{_written(shape.item)} by name"
        case Sequence():
            return f"{'section or ' if shape.may_be_one else ''}list of {_written(shape.item)}"


def _default(field: Field) -> str:
    if field.required:
        return "required"
    if not isinstance(field.shape, Scalar):
        return ""
    if callable(field.default_factory):
        return "from the machine"
    default = field.make_default()
    if default in (None, ""):
        return ""
    return f"`{str(plain(default, field.shape)).lower() if isinstance(default, bool) else plain(default, field.shape)}`"


def playbooks() -> dict[str, str]:
    """Return the playbooks by the names of their files."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted((HERE / "playbooks").glob("*.md"))}


def main() -> int:
    """Write the tables into the documents."""
    for path in documents():
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
    for name, text in playbooks().items():
        (PACKAGED / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
