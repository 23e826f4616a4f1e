"""The fields of the configuration that cannot change while a node runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.config.problems import Problem
from edge.config.shared_keys import has_members, shares_keys

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.config.problems import Document, Path
    from edge.config.schema import Config

_FIXED: Final[tuple[tuple[str, Callable[[Config], object]], ...]] = (
    ("listen", lambda config: config.listen),
    ("admin.address", lambda config: config.admin.address),
    ("cluster", lambda config: config.cluster),
    ("history", lambda config: config.history),
    ("node.workers", lambda config: config.node.workers),
    ("node.drain_grace", lambda config: config.node.drain_grace),
    ("node.state_dir", lambda config: config.node.state_dir),
    ("limits.affinity", lambda config: config.limits.affinity),
    ("limits.cache", lambda config: config.limits.cache),
    ("limits.issued_ids", lambda config: config.limits.issued_ids),
    ("log.format", lambda config: config.log.format),
    ("log.level", lambda config: config.log.level),
    ("log.lines_per_second", lambda config: config.log.lines_per_second),
)
# Other nodes know a sharing node, and its grants, by these.
_SHARED: Final[tuple[tuple[str, Callable[[Config], object]], ...]] = (
    ("node.region", lambda config: config.node.region),
    ("node.name", lambda config: config.node.name),
)


def unchangeable(document: Document, current: Config) -> list[Problem]:
    """Return a problem for each changed field that needs a restart; a file is never applied in part."""
    found = []
    for name, value in _FIXED if current.cluster.etcd is None else (*_FIXED, *_SHARED):
        if value(document.config) != value(current):
            path: Path = tuple(name.split("."))
            sentence = "this cannot change while the node runs; put it back, or restart the node"
            found.append(Problem(path, sentence, document.line(path)))
    if has_members(document.config) and not (has_members(current) or shares_keys(current)):
        sentence = "this node was started without records for members of groups; restart it, or remove each"
        found.append(Problem(("keys",), sentence, document.line(("keys",))))
    return found
