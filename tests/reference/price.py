"""What tokens cost by a price: the reference model of native.balance.price."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge.terms.snapshot import Price


def cost(price: Price, used: Mapping[str, int]) -> Fraction:
    """Return US dollars * 1e9; each part is at most what is left of its whole."""
    left = {"prompt": used["prompt"], "output": used["output"]}
    total = Fraction(0)
    for part, whole, each in (
        ("cached", "prompt", price.cached_input),
        ("audio_prompt", "prompt", price.audio_input),
        ("image_prompt", "prompt", price.image),
        ("reasoning", "output", price.reasoning),
        ("audio_output", "output", price.audio_output),
    ):
        taken = min(used[part], left[whole])
        left[whole] -= taken
        total += taken * Fraction(each) * 1000
    return total + left["prompt"] * Fraction(price.input) * 1000 + left["output"] * Fraction(price.output) * 1000
