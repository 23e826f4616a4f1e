"""Reader of forms that a simulated provider is sent: files by size, everything else by text."""

from __future__ import annotations

from email.parser import BytesParser
from email.policy import HTTP
from typing import Any


def form_as_fields(content_type: str, body: bytes, *, contents: bool = False) -> dict[str, Any]:
    """Return the fields of ``multipart/form-data``; a file is ``{"name": ..., "size": ..., "first": its first bytes}``.

    With ``contents`` a file has its ``content`` too.

    Raises:
        ValueError: the body has another type or no parts.
    """
    if not content_type.lower().startswith("multipart/form-data"):
        raise ValueError(f"the body must be multipart/form-data, not {content_type or 'without a type'}")
    head = f"content-type: {content_type}\r\nmime-version: 1.0\r\n\r\n".encode()
    message = BytesParser(policy=HTTP).parsebytes(head + body)
    fields: dict[str, Any] = {}
    for part in message.iter_parts():
        content: Any = part.get_payload(decode=True)
        name = str(part.get_param("name", header="content-disposition"))
        if part.get_filename() is None:
            fields[name] = content.decode()
        else:
            fields[name] = {"name": part.get_filename(), "size": len(content), "first": content[:16].hex()}
            if contents:
                fields[name]["content"] = content
    if not fields:
        raise ValueError("the form has no parts")
    return fields
