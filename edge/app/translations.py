"""Hands the data path its translator between dialects, which is imported with the first request that needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.dialects.content_embeddings import ContentEmbeddings
    from edge.dialects.continuation import Continuation, ShownAnswer
    from edge.dialects.embeddings import Embeddings
    from edge.dialects.translate import Conversation, StreamTranslation


class Translations:
    """Is ``native.proxy.hooks.Translations``. Most workers never translate, and start faster without the dialects."""

    def read(
        self, dialect: str, body: bytes, model: str, stream: bool
    ) -> Conversation | Embeddings | ContentEmbeddings:
        """Read a client's request."""
        from edge.dialects import translate  # noqa: PLC0415

        return translate.read(dialect, body, model, stream)

    def error(self, target: str, client: str, status: int, body: bytes, request_id: str) -> bytes:
        """Return a target's error body in the client's dialect."""
        from edge.dialects import translate  # noqa: PLC0415

        return translate.error(target, client, status, body, request_id)

    def own_error(self, client: str, status: int, body: bytes, request_id: str) -> bytes:
        """Return an error body of edge's own in the client's dialect."""
        from edge.dialects import translate  # noqa: PLC0415

        return translate.own_error(client, status, body, request_id)

    def own_event(self, client: str, event: bytes) -> bytes:
        """Return an error event of edge's own in the client's dialect."""
        from edge.dialects import translate  # noqa: PLC0415

        return translate.own_event(client, event)

    def resume(self, shown: ShownAnswer, translation: StreamTranslation | None) -> Continuation:
        """Return what goes on with an answer that broke off."""
        from edge.dialects import translate  # noqa: PLC0415

        return translate.resume(shown, translation)
