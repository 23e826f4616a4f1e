"""The check of a key that an operator makes in the cluster: by the rules of a file that had it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from msgspec import structs

from edge.config.check_keys import keys as check_keys
from edge.config.load import read_text
from edge.config.problems import spell
from edge.errors import ConfigInvalidError
from edge.providers import KNOWN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge.config.schema import Config
    from edge.config.schema_keys import Key


def checked_key(entry: Mapping[str, Any], config: Config) -> Key:
    """Return the key that an entry, as a file would have it, describes.

    Raises:
        ConfigInvalidError: with every problem.
    """
    document = read_text("keys: [" + _yaml(entry) + "]\n", environ={})
    whole = structs.replace(config, keys=document.config.keys)
    problems = [*document.problems, *check_keys(document, whole, KNOWN)]
    found = [f"{spell(each.path[2:])}: {each.sentence}" for each in problems if each.severity == "error"]
    fixed = [field for field in ("identities", "groups", "certificates", "each") if entry.get(field)]
    found += [f"{field}: only keys of the file can have them" for field in fixed]
    if found or len(document.config.keys) != 1:
        raise ConfigInvalidError(found or ["write one key"])
    key = document.config.keys[0]
    if not key.sha256:
        raise ConfigInvalidError(["sha256: write the SHA-256 of the key, 64 hex digits"])
    return structs.replace(key, sha256=key.sha256.lower())


def _yaml(entry: Mapping[str, Any]) -> str:
    """Return JSON that YAML reads as the same: it does not join the halves of a surrogate pair (YAML 1.2.2, 5.7)."""
    text = json.dumps(entry, ensure_ascii=False)
    return "".join(each if " " <= each <= "~" else f"\\U{ord(each):08X}" for each in text)
