"""Affinity: conversations stay where their prompt is in a cache, move once when they must, and keep to the weights."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from conversing import Conversing, Talk, target_of, text_of

from edge.native import RouteCounter, set_virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MINUTE = 60
ONE_HOUR = {"type": "ephemeral", "ttl": "1h"}


@pytest.fixture(autouse=True)
def real_time_again() -> Iterator[None]:
    """Give each later test the real clocks."""
    yield
    set_virtual(0)


def counted(world: Conversing, counter: int) -> int:
    """Return a counter of the model."""
    slot = world.snapshot.routes[world.snapshot.models["chat"]].slot
    return world.state.read_route(slot)["counts"][counter]


def talks(world: Conversing, count: int) -> list[Talk]:
    """Return conversations that begin."""
    return [Talk(world, f"speaker {number}") for number in range(count)]


def together(world: Conversing, all_talks: list[Talk]) -> list[str]:
    """Let all conversations take a turn at the same time; return who answered each."""
    calls = [world.ask(talk.body) for talk in all_talks]
    for _ in range(400):
        if all(call.ended_ns for call in calls):
            break
        world.run(0.1)
    for talk in all_talks:
        talk.went_on()
    return [target_of(call) for call in calls]


def test_a_conversation_stays_and_others_are_spread() -> None:
    """Each conversation has one target through all its turns, and all targets have conversations."""
    world = Conversing(text_of(["a", "b", "c"]))
    everybody = talks(world, 30)
    seen = [set[str]() for _ in everybody]
    for _ in range(5):
        for known, target in zip(seen, together(world, everybody), strict=True):
            known.add(target)
    assert [len(known) for known in seen] == [1] * 30
    assert min(Counter(next(iter(known)) for known in seen).values()) >= 5
    assert counted(world, RouteCounter.R_KEPT) == 4 * 30


def test_without_affinity_conversations_wander() -> None:
    """The same load with affinity: none leaves hardly a conversation at one target."""
    world = Conversing(text_of(["a", "b", "c"], affinity="none"))
    everybody = talks(world, 30)
    seen = [set[str]() for _ in everybody]
    for _ in range(5):
        for known, target in zip(seen, together(world, everybody), strict=True):
            known.add(target)
    assert sum(len(known) == 1 for known in seen) < 10


def test_weights_hold_over_conversations() -> None:
    """A target with three times the weight gets about three of four conversations, and so as many of the turns."""
    world = Conversing(text_of(["a, weight: 3", "b, weight: 1"]))
    everybody = talks(world, 120)
    owners = Counter(together(world, everybody))
    for _ in range(3):
        together(world, everybody)
    assert 80 <= owners["a"] <= 100
    assert world.served["a"] == pytest.approx(4 * owners["a"], rel=0.05)


def test_weights_hold_over_conversations_that_begin_one_by_one() -> None:
    """Of 400 conversations that never meet, three of four begin at the target with three times the weight, and stay."""
    world = Conversing(text_of(["a, weight: 3", "b, weight: 1"]))
    firsts = Counter[str]()
    for number in range(400):
        talk = Talk(world, f"talk {number}")
        owner = talk.turn()
        firsts[owner] += 1
        assert talk.turn() == owner
    # four standard deviations of a binomial distribution
    assert abs(firsts["a"] - 300) <= 4 * (400 * 0.75 * 0.25) ** 0.5
    assert world.served["a"] == 2 * firsts["a"]


@pytest.mark.parametrize(
    ("mark", "idle_s", "kept"), [(None, 280, True), (None, 310, False), (ONE_HOUR, 3500, True), (ONE_HOUR, 3620, False)]
)
def test_a_pin_lives_as_long_as_the_cache(mark: dict[str, str] | None, idle_s: int, kept: bool) -> None:
    """A conversation that pauses for longer than its cache lives is free again: 5 minutes, or the hour it asks for."""
    world = Conversing(text_of(["a", "b"]))
    everybody = talks(world, 12)
    for talk in everybody:
        if mark is not None:
            content = [{"type": "text", "text": "Be brief.", "cache_control": mark}]
            talk.messages[0]["content"] = content  # type: ignore[assignment]
    together(world, everybody)
    world.run(idle_s)
    together(world, everybody)
    assert counted(world, RouteCounter.R_KEPT) == (12 if kept else 0)


def test_each_turn_renews_the_pin() -> None:
    """Turns every four minutes keep a conversation for longer than five."""
    world = Conversing(text_of(["a", "b"]))
    talk = Talk(world, "one")
    targets = set[str]()
    for _ in range(5):
        targets.add(talk.turn())
        world.run(4 * MINUTE)
    assert len(targets) == 1


def test_a_conversation_moves_once_and_does_not_come_back() -> None:
    """When its target fails, a conversation moves and stays where it is, also after the recovery of the first."""
    world = Conversing(text_of(["a", "b", "c"]))
    everybody = talks(world, 24)
    first = together(world, everybody)
    world.down.add("a")
    moved = together(world, everybody)
    assert [new for old, new in zip(first, moved, strict=True) if old != "a"] == [old for old in first if old != "a"]
    assert "a" not in moved
    for _ in range(2):
        assert together(world, everybody) == moved
    world.down.clear()
    world.run(30)
    for _ in range(4):
        together(world, talks(world, 3))  # trials, by conversations that are not kept
        world.run(10)
    assert world.served["a"] > 0
    assert together(world, everybody) == moved
    assert counted(world, RouteCounter.R_MOVED) == first.count("a")


def test_a_later_tier_keeps_a_conversation_for_the_life_of_its_cache() -> None:
    """A conversation that failed over to a later tier stays there while that cache lives, and then returns, once."""
    world = Conversing(text_of(["a, tier: 1", "b, tier: 2"]))
    talk = Talk(world, "one")
    assert talk.turn() == "a"
    world.down.add("a")
    assert talk.turn() == "b"
    world.down.clear()
    seen = []
    for _ in range(12):
        world.run(MINUTE)
        Talk(world, f"new at {world.now_ns}").turn()
        seen.append(talk.turn())
    back = seen.index("a")
    assert 3 <= back <= 6
    assert seen == ["b"] * back + ["a"] * (12 - back)


def test_a_full_target_spills_and_keeps_its_conversations() -> None:
    """A turn for which there is no place goes elsewhere, and the next one finds its target again."""
    world = Conversing(text_of(["a", "b"], provider=", max_inflight: 2"))
    everybody = talks(world, 4)
    owners = together(world, everybody)
    assert Counter(owners) == {"a": 2, "b": 2}
    kept = [talk for talk, owner in zip(everybody, owners, strict=True) if owner == "a"]
    stranger = Talk(world, "stranger", model="a/m")
    busy = [world.ask(stranger.body) for _ in range(2)]  # both places of a
    spilled = world.ask(kept[0].body)
    world.run(3)
    assert [target_of(call) for call in (*busy, spilled)] == ["a", "a", "b"]
    for talk in kept:
        talk.went_on()
        assert talk.turn() == "a"


def test_one_request_too_many_goes_elsewhere() -> None:
    """A conversation that is asked many times at once does not crowd one target while others idle."""
    world = Conversing(text_of(["a", "b", "c", "d"]))
    talk = Talk(world, "one")
    owner = talk.turn()
    calls = [world.ask(talk.body) for _ in range(80)]
    world.run(5)
    asked = Counter(target_of(call) for call in calls)
    assert max(asked.values()) <= 2 * 80 / 4 + 5
    assert min(asked.values()) >= 8
    assert asked[owner] >= 20
    talk.went_on()
    assert talk.turn() == owner


def test_a_reload_keeps_the_pins() -> None:
    """Another configuration with the same targets, and one more, leaves conversations where they are."""
    world = Conversing(text_of(["a", "b"]))
    everybody = talks(world, 12)
    first = together(world, everybody)
    world.reload(text_of(["c", "b", "a"]))
    assert together(world, everybody) == first


def test_a_target_that_has_gone_frees_its_conversations() -> None:
    """A reload without a target moves its conversations, and no others."""
    world = Conversing(text_of(["a", "b", "c"]))
    everybody = talks(world, 18)
    first = together(world, everybody)
    world.reload(text_of(["a", "b"]))
    second = together(world, everybody)
    assert [new for old, new in zip(first, second, strict=True) if old != "c"] == [old for old in first if old != "c"]
    assert together(world, everybody) == second


def test_two_workers_agree() -> None:
    """A conversation whose turns reach another worker stays at its target; a worker that is cleared changes nothing."""
    world = Conversing(text_of(["a", "b", "c"]), workers=2)
    everybody = talks(world, 12)
    first = [talk.turn(0) for talk in everybody]
    assert [talk.turn(1) for talk in everybody] == first
    world.state.clear_worker(0)
    assert [talk.turn(1) for talk in everybody] == first


def test_a_million_conversations_do_not_need_more_memory() -> None:
    """With a table of 4 KiB old conversations lose their pins, and the newest have theirs."""
    world = Conversing(text_of(["a", "b"]), pin_bytes=4096)
    everybody = talks(world, 1000)
    owners = [talk.turn() for talk in everybody]
    before = counted(world, RouteCounter.R_KEPT)
    newest = [talk.turn() for talk in everybody[-50:]]
    assert counted(world, RouteCounter.R_KEPT) - before >= 45
    assert sum(one == two for one, two in zip(owners[-50:], newest, strict=True)) >= 45


def test_short_requests_without_an_answer_are_spread() -> None:
    """The same short question of everybody is no conversation yet: the targets share it. A long one has one target."""
    world = Conversing(text_of(["a", "b"]))
    short = {"model": "chat", "messages": [{"role": "user", "content": "Hi"}]}
    together(world, [Talk(world, "same") for _ in range(40)])
    assert min(world.served.values()) >= 10
    assert len({world.say(short) for _ in range(20)}) >= 1
    long = {"model": "chat", "messages": [{"role": "user", "content": "Read this. " * 500}]}
    assert len({world.say(long) for _ in range(10)}) == 1


def anthropic(said: list[str]) -> dict[str, Any]:
    """Return a request to /v1/messages whose mark of the cache is at its last text, as coding agents have it."""
    turns: list[dict[str, Any]] = [
        {"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(said)
    ]
    turns[-1]["content"] = [{"type": "text", "text": said[-1], "cache_control": {"type": "ephemeral"}}]
    return {"model": "chat", "max_tokens": 9, "system": "Be brief.", "messages": turns}


def gemini(said: list[str]) -> dict[str, Any]:
    """Return a request to :generateContent."""
    return {
        "contents": [
            {"role": ("user", "model")[place % 2], "parts": [{"text": text}]} for place, text in enumerate(said)
        ]
    }


def chat(said: list[str]) -> dict[str, Any]:
    """Return a request to /v1/chat/completions."""
    return {
        "model": "chat",
        "messages": [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(said)],
    }


def responses(said: list[str]) -> dict[str, Any]:
    """Return a request to /v1/responses that has all turns."""
    return {
        "model": "chat",
        "store": False,
        "input": [
            {"role": ("user", "assistant")[place % 2], "content": [{"type": "input_text", "text": text}]}
            for place, text in enumerate(said)
        ],
    }


SHAPES: list[tuple[str, str, Callable[[list[str]], dict[str, Any]]]] = [
    ("openai", "/v1/chat/completions", chat),
    ("responses", "/v1/responses", responses),
    ("anthropic", "/v1/messages", anthropic),
    ("gemini", "/v1beta/models/chat:generateContent", gemini),
]


@pytest.mark.parametrize(("dialect", "path", "shape"), SHAPES, ids=[name for name, _, _ in SHAPES])
def test_every_dialect_has_conversations(dialect: str, path: str, shape: Callable[[list[str]], dict[str, Any]]) -> None:
    """Conversations in each dialect's shape stay at their targets, which are more than one."""
    world = Conversing(text_of(["a", "b", "c"], provider=f", dialect: {dialect}"))
    said = [[f"I am {number}."] for number in range(12)]
    seen = [set[str]() for _ in said]
    for _ in range(3):
        calls = [world.ask(shape(texts), path) for texts in said]
        world.run(3)
        for call, known, texts in zip(calls, seen, said, strict=True):
            assert call.status == 200, call.last
            known.add(target_of(call))
            texts += [f"Answer to {texts[-1]}", f"And {len(texts)}?"]
    assert [len(known) for known in seen] == [1] * 12
    assert len({next(iter(known)) for known in seen}) == 3


def test_a_response_is_followed_by_its_name() -> None:
    """A request with previous_response_id goes to the target that gave that answer, through every turn."""
    world = Conversing(text_of(["a", "b", "c"], provider=", dialect: responses"))
    for number in range(9):
        world.answer = {"id": f"resp_{number}_0", "object": "response", "status": "completed", "output": []}
        owner = world.say({"model": "chat", "input": f"Hi {number}"}, "/v1/responses")
        for turn in range(3):
            named = {"model": "chat", "input": "And?", "previous_response_id": f"resp_{number}_{turn}"}
            world.answer["id"] = f"resp_{number}_{turn + 1}"
            assert world.say(named, "/v1/responses") == owner
    assert len(world.served) == 3


def test_a_conversation_by_name_stays() -> None:
    """The parameter conversation of Responses keeps all requests of that conversation together."""
    world = Conversing(text_of(["a", "b", "c"], provider=", dialect: responses"))
    world.answer = {"id": "resp_x", "object": "response", "status": "completed", "output": []}
    for number in range(6):
        body = {"model": "chat", "conversation": {"id": f"conv_{number}"}}
        assert len({world.say(body | {"input": f"Turn {turn}"}, "/v1/responses") for turn in range(4)}) == 1
    assert len(world.served) == 3


def test_the_reason_says_that_a_conversation_stays() -> None:
    """An answer of a later tier, to which a conversation is kept, says so where others say what failed."""
    world = Conversing(text_of(["a, tier: 1", "b, tier: 2"]))
    talk = Talk(world, "one")
    world.down.add("a")
    assert talk.turn() == "b"
    world.down.clear()
    world.run(20)
    for number in range(3):
        Talk(world, f"new {number}").turn()
        world.run(10)
    call = world.ask(talk.body)
    world.run(2)
    fields = dict(call.fields)
    assert (target_of(call), b"kept_elsewhere" in fields[b"x-edge-reason"]) == ("b", True), fields


def test_prefix_finds_the_longest_part_and_minds_the_load() -> None:
    """A prompt goes where most of it was read; a target that says its queue is long or its cache full gets none."""
    world = Conversing(text_of(["a", "b", "c"], affinity="prefix", provider=", kind: vllm"))
    manual = "".join(f"Rule {number}: do what rule {number - 1} says. " for number in range(400))

    def body(question: str) -> dict[str, Any]:
        return {
            "model": "chat",
            "messages": [{"role": "system", "content": manual}, {"role": "user", "content": question}],
        }

    owner = world.say(body("first"))
    assert [world.say(body(f"question {number}")) for number in range(8)] == [owner] * 8
    slot = next(target.slot for target in world.snapshot.targets if target.id == f"{owner}/m")
    for waiting, cache in ((9, 0.1), (0, 0.98)):
        world.state.set_load(slot, waiting, cache, world.now_ns)
        assert owner not in {world.say(body(f"busy {waiting} {number}")) for number in range(3)}
    world.run(11)  # it says nothing any more
    world.state.set_load(slot, 3, 0.5, world.now_ns)
    assert counted(world, RouteCounter.R_KEPT) >= 8
