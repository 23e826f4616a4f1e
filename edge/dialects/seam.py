"""Joins two parts of one text: what a client was shown of an answer, and what another target says next.

The second part may go on where the first ended, or start over: then the part that is known is left out. Where it cannot
be told which of the two it is, or the parts do not fit, the seam fails rather than show a text that no model wrote.
"""

from __future__ import annotations

from typing import ClassVar, Final

from edge.errors import EdgeError, Retry, Source

LEAST_RESTART: Final = 8
"""Characters that must be shown for a repeated beginning to prove that a target starts over."""
MOST_CHANCE: Final = 15
"""Characters in which what goes on may begin like the whole text by chance, as the items of a list do."""
MOST_CHANCE_TURN: Final = 7
"""The same for a target that was asked in a new turn: such a target is more likely to start over."""
_ANCHOR: Final = 40
_SURE: Final = 16
"""Characters by which an answer in a new turn, that does not begin as it was asked to, is judged."""
_LEAST_REPEATED: Final = 4
"""Characters at a seam that are there twice by more than chance."""
_RECENT: Final = 120
"""The last characters that were shown, a sentence, with which such an answer may begin again."""
_POINTS: Final = ".,;:!?)"
# Behind this the scripts of East Asia begin, which put no spaces between words.
_SPACED_SCRIPTS: Final = "\u2e80"


class CannotJoinError(EdgeError, ValueError):
    """What a target says does not fit to what was shown. That is no fault of the target."""

    kind: ClassVar[str] = "cannot_join"
    source: ClassVar[Source] = "edge"
    retry: ClassVar[Retry] = "elsewhere"
    blameless: ClassVar[bool] = True


def anchor_of(shown: str) -> str:
    """Return the last words of a text, by which a continuation in a new turn is asked to begin; "" = there are none."""
    if len(shown) <= _ANCHOR:
        return shown.strip()
    words = shown[-_ANCHOR:]
    start = next((at for at, letter in enumerate(words) if letter.isspace()), 0)
    return words[start:].strip() or words.strip()


def is_repetitive(text: str) -> bool:
    """Return whether a text repeats its first half or less over and over: what goes on may then equal its beginning."""
    borders = [0] * len(text)  # of each prefix, the length of its longest border (Knuth, Morris, Pratt)
    border = 0
    for at in range(1, len(text)):
        while border and text[at] != text[border]:
            border = borders[border - 1]
        if text[at] == text[border]:
            border += 1
        borders[at] = border
    return bool(text) and 2 * border >= len(text)


class Seam:
    """One seam, which is decided once enough of the second part has come.

    Args:
        shown: what the client has.
        sent: how many characters of it the target was sent; those behind are white space, with which it must begin.
        turn: the target was asked in a new turn, to begin with :func:`anchor_of` what was shown.
    """

    def __init__(self, shown: str, sent: int, *, turn: bool) -> None:
        self._shown = shown
        self._rest = shown[sent:]
        self._turn = turn
        self._anchor = anchor_of(shown) if turn else ""
        self._held = ""  # "" while all that came equals the beginning of what was shown: then it is that
        self._same = 0  # characters that do
        self._decided = False

    def push(self, text: str) -> str:
        """Take more of the second part; return what may be shown of it, "" = that is not decided yet.

        Raises:
            CannotJoinError: the parts do not fit.
        """
        if self._decided or not text:
            return text
        if not self._held and self._same + len(text) < len(self._shown) and self._shown.startswith(text, self._same):
            self._same += len(text)  # it may start over, or begin alike by chance
            return ""
        self._held = (self._held or self._shown[: self._same]) + text
        return self._decide(complete=False)

    def finish(self) -> str:
        """The second part is complete: return what is still to be shown; raises as :meth:`push` does."""
        self._held = self._held or self._shown[: self._same]
        return "" if self._decided or not self._held else self._decide(complete=True)

    def _decide(self, *, complete: bool) -> str:
        shown, held = self._shown, self._held
        most = min(len(shown), len(held))
        while self._same < most and shown[self._same] == held[self._same]:
            self._same += 1
        if self._same == len(shown):
            return self._restart()
        if self._same == len(held) and not complete:
            return ""  # it may still turn out to be the beginning
        if self._same > (MOST_CHANCE_TURN if self._turn else MOST_CHANCE):
            raise CannotJoinError("the answer began again, and differs from what was shown")
        return self._go_on(complete=complete)

    def _restart(self) -> str:
        shown = self._shown
        repeated = self._turn and len(shown) <= _ANCHOR  # then it was asked to begin with all of it
        if not repeated and (len(shown) < LEAST_RESTART or is_repetitive(shown)):
            raise CannotJoinError("what was shown is too short, or repeats itself, to tell where the answer goes on")
        return self._join(self._held[len(shown) :])

    def _go_on(self, *, complete: bool) -> str:
        held = self._held
        if self._rest:
            if held.startswith(self._rest):
                return self._join(held[len(self._rest) :])
            if self._rest.startswith(held) and not complete:
                return ""
            raise CannotJoinError("the answer does not go on with the white space at the end of what was shown")
        return self._go_on_in_turn(held, complete=complete) if self._turn else self._join(held)

    def _go_on_in_turn(self, held: str, *, complete: bool) -> str:
        if self._anchor and held.startswith(self._anchor):
            return self._join(self._behind_anchor(held[len(self._anchor) :]))
        if not complete and (len(held) < _SURE or self._anchor.startswith(held)):
            return ""
        if _repeats(self._shown, held):
            raise CannotJoinError("the answer repeats a part of what was shown")
        if _lacks_space(self._shown[-1:], held[0]):
            raise CannotJoinError("the answer may lack a space where it goes on")
        return self._join(held)

    def _behind_anchor(self, text: str) -> str:
        """Return what follows the repeated words, without the white space that was shown behind them."""
        blank = self._shown[len(self._shown.rstrip()) :]
        if text.startswith(blank):
            return text[len(blank) :]
        raise CannotJoinError("the answer does not go on with the white space at the end of what was shown")

    def _join(self, text: str) -> str:
        self._decided = True
        self._held = ""
        return text


def _repeats(shown: str, held: str) -> bool:
    """Return whether an answer begins with something that was shown last, or overlaps its end."""
    begin = held.strip()[:_SURE]
    if len(begin) >= _LEAST_REPEATED and begin in shown[-_RECENT:]:
        return True
    return any(shown.endswith(held[:size]) for size in range(_LEAST_REPEATED, min(len(held), _ANCHOR) + 1))


def _lacks_space(before: str, after: str) -> bool:
    """Return whether a space may be missing between two characters: models leave out a space that begins a turn."""
    ends = before.isalnum() or before in _POINTS
    return ends and after.isalnum() and before < _SPACED_SCRIPTS and after < _SPACED_SCRIPTS
