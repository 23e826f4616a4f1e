"""The texts of the playbooks, as they are shown with an incident: docs/playbooks, without links."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import Final

_LINK: Final = re.compile(r"\[([^\]]*)\]\([^)]*\)")  # to other documents, which stand somewhere else here


@cache
def playbook_text(name: str) -> str:
    """Return the Markdown of a playbook, a value of ``incident.PLAYBOOKS``; "" if there is none of that name."""
    place = resources.files("edge.incidents").joinpath("playbooks", f"{name}.md")
    return _LINK.sub(r"\1", place.read_text(encoding="utf-8")) if place.is_file() else ""
