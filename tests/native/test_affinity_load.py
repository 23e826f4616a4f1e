"""Affinity on a load with the statistics of a production trace: nearly the reuse of one big target, evenly spread.

Lengths and the share of blocks that were seen before (37%) are those of the conversation trace of Mooncake FAST'25.
Each target remembers every block of 512 tokens that it has read; reuse is the part of blocks that the target of a
request had read before. Run with ``-rP`` to see the figures.
"""

from __future__ import annotations

import heapq
import sys
from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Final

import pytest
from conversing import Conversing, target_of, text_of
from msgspec import Struct

from edge.drills.load import MIXES, draw
from edge.native import set_virtual

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.native import Call

BLOCK: Final = 512  # tokens
TOKEN: Final = 4  # bytes
TARGETS: Final = tuple("abcdefgh")
RATE: Final = 8.0  # new conversations a second
REQUESTS: Final = 1200
GOES_ON: Final = 0.36  # the part of turns after which the client has another question
PREFILL: Final = 20_000.0  # tokens a second


@pytest.fixture(autouse=True)
def real_time_again() -> Iterator[None]:
    """Give each later test the real clocks."""
    yield
    set_virtual(0)


class Chat(Struct):
    """A conversation: its texts, as (who, tokens), and the application whose system prompt it begins with."""

    number: int
    application: int
    system: int  # tokens of the system prompt; 0: it has none
    turns: list[int]  # tokens of each turn, the client's and the model's in turn

    @property
    def prompt(self) -> int:
        """Tokens of the whole prompt."""
        return self.system + sum(self.turns)

    def body(self) -> bytes:
        """Return the request of the current turn."""
        said = [("system", f"a{self.application} ", self.system)] if self.system else []
        said += [
            (("user", "assistant")[place % 2], f"c{self.number}t{place} ", tokens)
            for place, tokens in enumerate(self.turns)
        ]
        messages = ",".join(
            f'{{"role":"{role}","content":"{(word * (tokens * TOKEN // len(word) + 1))[: tokens * TOKEN]}"}}'
            for role, word, tokens in said
        )
        return b'{"model":"chat","messages":[%b]}' % messages.encode()

    def blocks(self) -> list[tuple[int, int, int]]:
        """Return the blocks of the prompt: equal ones have equal text from the beginning on."""
        shared = self.system // BLOCK
        return [
            (1, self.application, place) if place < shared else (2, self.number, place)
            for place in range(self.prompt // BLOCK)
        ]


class Figures(Struct):
    """What came of a load."""

    ideal: float  # of blocks, what one target for all would have had
    reuse: float  # ... what the target of each request had
    requests: float  # the most of one target, relative to the mean
    tokens: float


def play(affinity: str, seed: int) -> Figures:
    """Let the load come, and return what it was like."""
    chance = Random(f"{seed} affinity")
    mix = MIXES["long"]
    world = Conversing(
        text_of(TARGETS, affinity=affinity, provider=", kind: vllm"),
        seconds=lambda _target, body: 1.0 + len(body) / TOKEN / PREFILL,
    )
    due: list[tuple[float, int, Chat]] = []
    at, asked = 0.0, 0
    under_way: list[tuple[Call, Chat]] = []
    everywhere: set[tuple[int, int, int]] = set()
    there: dict[str, set[tuple[int, int, int]]] = {name: set() for name in TARGETS}
    total = seen = had = 0
    requests, tokens = Counter[str](), Counter[str]()
    now = 0.0

    def begin(number: int) -> Chat:
        application = chance.randrange(12)
        system = 1100 + 130 * application if chance.random() < 0.5 else 0
        return Chat(number, application, system, [max(int(draw(mix.prompt, chance.random())) - system, 20)])

    heapq.heappush(due, (0.0, 0, begin(0)))
    numbers = 1
    while asked < REQUESTS or under_way:
        if due and due[0][0] <= now and asked < REQUESTS:
            _, _, chat = heapq.heappop(due)
            if len(chat.turns) == 1:
                at = now + chance.expovariate(RATE)
                heapq.heappush(due, (at, numbers, begin(numbers)))
                numbers += 1
            under_way.append((world.ask(chat.body()), chat))
            asked += 1
            continue
        world.run(0.05)
        now += 0.05
        for call, chat in [pair for pair in under_way if pair[0].ended_ns]:
            under_way.remove((call, chat))
            target = target_of(call)
            blocks = chat.blocks()
            total += len(blocks)
            seen += sum(block in everywhere for block in blocks)
            had += sum(block in there[target] for block in blocks)
            everywhere.update(blocks)
            there[target].update(blocks)
            requests[target] += 1
            tokens[target] += chat.prompt
            if chance.random() < GOES_ON:
                chat.turns += [int(draw(mix.answer, chance.random())) + 1, 20 + int(chance.expovariate(1 / 300))]
                heapq.heappush(due, (now + chance.expovariate(1 / 20), chat.number, chat))
    mean = len(TARGETS)
    return Figures(
        seen / total,
        had / total,
        max(requests.values()) * mean / sum(requests.values()),
        max(tokens.values()) * mean / sum(tokens.values()),
    )


@pytest.mark.parametrize(("affinity", "least"), [("auto", 0.9), ("prefix", 0.9), ("none", 0.0)])
def test_reuse_is_nearly_that_of_one_big_target(affinity: str, least: float) -> None:
    """Over 8 targets at least 90% of the reuse of one, and none has more than 1.3 of the mean load."""
    found = play(affinity, seed=1)
    sys.stdout.write(
        f"affinity {affinity}: {found.ideal:.1%} of blocks were seen before, {found.reuse:.1%} at the target of the "
        f"request ({found.reuse / found.ideal:.1%} of that); the busiest target has {found.requests:.2f} of the mean "
        f"of requests, {found.tokens:.2f} of tokens\n"
    )
    assert found.ideal == pytest.approx(0.37, abs=0.03)
    assert found.reuse >= least * found.ideal
    assert max(found.requests, found.tokens) <= 1.3 or affinity == "none"
