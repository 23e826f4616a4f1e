"""Members of groups as callers of their own: who has a record in the shared state, and who shares one with others.

A worker asks for a record when it meets an identity of a key with ``each`` that has none. Records are bounded: when all
are taken, a member that has been idle, with nothing spent this month, gives up its own. Otherwise newcomers are one
caller together, called ``*``, with what one of them may use.
"""

from __future__ import annotations

import hashlib
from itertools import islice
from typing import TYPE_CHECKING, Final

from edge.admission.key_documents import KeyDocument, KeyDocumentError, body_of
from edge.config.schema_keys import Key
from edge.telemetry import logs
from edge.telemetry.usage import month_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.clock import Clock
    from edge.config.schema import Config
    from edge.control.key_book import KeyBook
    from edge.control.key_cells import KeyChange
    from edge.native import SharedState

OTHERS: Final = "*"
LOOKED_AT: Final = 64
"""Members that are looked at for one that is idle, each time that one wants a record."""


def digest_of(group: str, name: str) -> bytes:
    """Return what a member is found by, as native/state/callers.pyx computes it; it is longer than a key's digest."""
    return b"m" + hashlib.sha256(f"{group}\0{name}".encode()).digest()


class Members:
    """The members that have records.

    Args:
        book: holds them beside the cluster's keys; their names are GROUP/NAME.
        shared_state: has the records.
        config: returns the configuration in force.
        clock: source of time.
    """

    def __init__(self, book: KeyBook, shared_state: SharedState, config: Callable[[], Config], clock: Clock) -> None:
        self._book = book
        self._shared_state = shared_state
        self._config = config
        self._clock = clock
        self._groups: dict[str, dict[str, None]] = {}
        for name in book.members():
            group, _, member = name.partition("/")
            self._groups.setdefault(group, {})[member] = None
        self._told: set[str] = set()

    def admit(self, group: str, member: str) -> list[KeyChange]:
        """Give a member a record, or let it share one if all are taken; return the changes.

        Raises:
            KeyDocumentError: there is no record at all.
        """
        key = next((key for key in self._config().keys if key.name == group and key.each is not None), None)
        if key is None or key.each is None:
            return []
        held = self._groups.setdefault(group, {})
        if member in held:
            return []
        changes = []
        if len(held.keys() - {OTHERS}) >= key.each.most:
            idle = self._idle(group)
            if idle is None:
                sentence = "a key has more identities than keys[].each.most; the others share what one may use"
                return self._share(key, sentence, most=key.each.most)
            changes.append(self._dismiss(group, idle))
        try:
            changes.append(self._put(key, member))
        except KeyDocumentError as error:
            sentence = "an identity of a key gets no record; those without one share what one may use"
            return [*changes, *self._share(key, sentence, reason=str(error))]
        return changes

    def _share(self, key: Key, sentence: str, **facts: object) -> list[KeyChange]:
        """Let newcomers of a group be one caller together; say why, once."""
        if key.name not in self._told:
            self._told.add(key.name)
            logs.say(logs.WARNING, sentence, key=key.name, **facts)
        return [] if OTHERS in self._groups[key.name] else [self._put(key, OTHERS)]

    def follow(self) -> list[KeyChange]:
        """Return the changes that follow from the configuration in force."""
        keys = {key.name: key for key in self._config().keys if key.each is not None}
        changes = []
        for group, held in list(self._groups.items()):
            key = keys.get(group)
            if key is None:
                del self._groups[group]
            for member in tuple(held):
                if key is None:
                    changes.append(self._book.dismiss(f"{group}/{member}"))
                elif self._book.document(f"{group}/{member}") != self._document(key, member):
                    changes.append(self._put(key, member))
        return changes

    def _put(self, key: Key, member: str) -> KeyChange:
        name = f"{key.name}/{member}"
        document = self._document(key, member)
        change = self._book.admit(name, digest_of(key.name, member), document, body_of(document))
        self._groups.setdefault(key.name, {})[member] = None
        return change

    def _dismiss(self, group: str, member: str) -> KeyChange:
        del self._groups[group][member]
        return self._book.dismiss(f"{group}/{member}")

    def _document(self, key: Key, member: str) -> KeyDocument:
        each = key.each
        own = Key(f"{key.name}/{member}", models=key.models, priority=key.priority)
        if each is None:
            return KeyDocument(own, 0, 0.0)
        limited = Key(
            own.name,
            models=key.models,
            priority=key.priority,
            requests_per_minute=each.requests_per_minute,
            tokens_per_minute=each.tokens_per_minute,
            concurrent=each.concurrent,
            budget=each.budget,
        )
        return KeyDocument(limited, 0, 0.0)

    def _idle(self, group: str) -> str | None:
        """Return a member that has nothing running, nothing to pay back and nothing spent; those looked at go last."""
        held, now_ns, month = self._groups[group], self._clock.now_ns(), month_of(self._clock.wall())
        for member in tuple(islice(held, LOOKED_AT)):
            slot = self._book.slot(f"{group}/{member}")
            view = self._shared_state.read_allowance(slot)
            owes = view["inflight"] or max(view["requests_tat"], view["tokens_tat"]) > now_ns
            spent = view["spent_month"] >= month and view["spent_nano"]
            if member != OTHERS and not (owes or spent):
                return member
            del held[member]
            held[member] = None
        return None
