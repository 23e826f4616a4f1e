"""Reads data URLs, the form in which some dialects hold images and documents. Edge fetches no URL of a caller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from edge.dialects.errors import UnreadableRequestError
from edge.terms import chat

if TYPE_CHECKING:
    from edge.terms.chat import Media

_MARK: Final = ";base64,"


def media_from_url(
    kind: Literal["image", "audio", "document"],
    url: str,
    where: str,
    *,
    name: str = "",
    detail: str = "",
    cache: str = "",
) -> Media:
    """Return what a data URL (RFC 2397) holds, or the URL itself.

    Raises:
        UnreadableRequestError: a data URL is not in base64; ``where`` is its place in the request.
    """
    if url[:5].lower() != "data:":
        return chat.Media(kind, url=url, name=name, detail=detail, cache=cache)
    head, mark, data = url[5:].partition(_MARK)
    if not mark or not head:
        raise UnreadableRequestError(f"{where}: a data URL needs a media type and base64, as data:image/png;base64,...")
    return chat.Media(kind, head.partition(";")[0].lower(), data, name=name, detail=detail, cache=cache)


def data_url(media: Media) -> str:
    """Return the URL of a medium, a data URL where its bytes are here."""
    return media.url or f"data:{media.media_type}{_MARK}{media.data}"
