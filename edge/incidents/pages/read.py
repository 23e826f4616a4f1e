"""Recognition of a status page by its content, since pages move from one supplier to another under the same address."""

from __future__ import annotations

from typing import Final

import msgspec

from edge.incidents.pages import feed, flashduty, google, statuspage
from edge.incidents.pages.view import NotAPage, PageView

_JSON: Final = (statuspage.read, flashduty.read, google.read)


def read(body: bytes, part: str, now: float) -> PageView:
    """Return what a page says, whatever its kind.

    Args:
        body: the document.
        part: component or product to look at, by id or name; "" means all.
        now: Unix time.

    Raises:
        NotAPage: it is none of the known kinds.
    """
    start = body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if start == b"<":
        return feed.read(body, now)
    try:
        document = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise NotAPage("neither JSON nor XML") from error
    for reader in _JSON:
        try:
            return reader(document, part)
        except NotAPage:
            continue
    raise NotAPage("JSON of an unknown kind")
