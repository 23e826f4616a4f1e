"""RSS and Atom feeds of status pages: the newest entry, and whether its words say that it is over.

A feed has no field for the state. An entry of the last day that does not say "resolved" counts as ``degraded``.
"""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

from edge.incidents.pages.view import MOST_ENTRIES, NotAPage, PageView, line, moment

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

RECENT_S: Final = 86_400.0
_OVER: Final = re.compile(r"\b(resolved|completed|restored|postmortem|operational)\b", re.IGNORECASE)
_TAG: Final = re.compile(r"<[^>]*>")
_TIMES: Final = ("updated", "pubDate", "published", "date")
_TEXTS: Final = ("title", "description", "summary", "content", "encoded")


def read(body: bytes, now: float) -> PageView:
    """Return what the feed says. ``now`` is Unix time.

    Raises:
        NotAPage: it is not XML, not a feed, or declares entities, which a status page does not need.
    """
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        raise NotAPage("a document type is not accepted")
    try:
        root = ET.fromstring(body)  # noqa: S314  # bounded in size, and without entities (above)
    except ET.ParseError as error:
        raise NotAPage("neither JSON nor XML") from error
    if _name(root) not in ("rss", "feed", "RDF"):
        raise NotAPage("not a feed")
    entries = [each for each in root.iter() if _name(each) in ("item", "entry")][:MOST_ENTRIES]
    found = sorted(
        ((_when(entry), place, entry) for place, entry in enumerate(entries)), key=lambda each: (-each[0], each[1])
    )
    if not found:
        return PageView("operational")
    when, _, entry = found[0]
    words = " ".join(_text(entry, name) for name in _TEXTS)
    if when and now - when <= RECENT_S and not _OVER.search(words):
        return PageView("degraded", line(_text(entry, "title")), when)
    return PageView("operational", since=when)


def _name(element: Element) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _text(entry: Element, name: str) -> str:
    texts = ("".join(each.itertext()) for each in entry if _name(each) == name)
    return _TAG.sub(" ", next(texts, ""))


def _when(entry: Element) -> float:
    for name in _TIMES:
        text = _text(entry, name).strip()
        if not text:
            continue
        if moment(text):
            return moment(text)
        try:
            return max(parsedate_to_datetime(text).timestamp(), 0.0)
        except (ValueError, TypeError, OverflowError):
            continue
    return 0.0
