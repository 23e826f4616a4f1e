"""A failure is blamed on the target, or on something that the request needed: never on both, never on what works."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from native.balance.breaker import TripReason
from native.balance.capability import Capabilities, Taken
from native.proxy.needs import named_in, needs_in
from native.proxy.router import Operation
from native.state.counters import Capability
from native.state.shared_state import SharedState
from tests.breakers import USUAL
from tests.reference import capability as twin

if TYPE_CHECKING:
    from collections.abc import Iterable

MS = 1_000_000
S = 1_000_000_000
START = 1_000 * S
PERMIT = 30 * S
HALF = 2**63  # random bits that leave the wait as it is
VISION, JSON, TOOLS, STREAMING, CHAT = (
    Capability.C_VISION,
    Capability.C_JSON,
    Capability.C_TOOLS,
    Capability.C_STREAMING,
    Capability.C_CHAT,
)
POLICY = structs.replace(USUAL, failure_ratio=0.0, slow_ratio=0.0)


def bits(needs: Iterable[int]) -> int:
    """Return capabilities as bits."""
    return sum(1 << part for part in needs)


class Target:
    """One target, asked at a time that the test advances."""

    def __init__(self) -> None:
        self.state = SharedState.create(1, 0, 1)
        self.part = Capabilities(self.state, 0, POLICY, PERMIT)
        self.now = START
        self.bodies = 0

    def take(self, *needs: int, last_resort: bool = False) -> Taken:
        """Claim what an attempt needs, which has to be admitted."""
        taken = self.part.take(bits(needs), self.now, last_resort)
        assert taken is not None
        return taken

    def works(self, *needs: int, key: int = -1) -> None:
        """Let an attempt succeed."""
        self.part.work(self.take(*needs), self.now, key)

    def fails(self, *needs: int, body: int = 0, key: int = -1) -> tuple[int, int]:
        """Let an attempt fail, with a body of its own unless one is given; return what is blamed, and what it moved."""
        self.bodies += 1
        return self.part.fail(self.take(*needs), self.now, body or self.bodies, key, HALF)

    def circuit(self, part: int) -> str:
        """Return the state of a capability's circuit."""
        views = self.state.read_target(0, self.now)["capabilities"]
        return views[part]["state"] if part in views else "closed"

    @property
    def own(self) -> str:
        """The state of the target's own circuit."""
        return self.state.read_target(0, self.now)["state"]


@settings(max_examples=400)
@given(
    events=st.lists(
        st.tuples(
            st.sampled_from([0, 1, 300, 1_000, 4_000, 11_000, 60_000]),  # ms
            st.frozensets(st.sampled_from([VISION, JSON, TOOLS, STREAMING, CHAT]), max_size=3),
            st.booleans(),
            st.integers(1, 3),  # body
        ),
        max_size=60,
    )
)
def test_the_blame_is_its_twins(events: list[tuple[int, frozenset[int], bool, int]]) -> None:
    """Any history of outcomes, until a circuit opens, gives kernel and model the same blame and the same opening."""
    target, model = Target(), twin.Model(10)
    for step, needs, good, body in events:
        target.now += step * MS + 1
        if good:
            target.works(*needs)
            model.work(needs, target.now)
            continue
        blamed, moved = target.fails(*needs, body=body)
        assert blamed == model.fail(needs, target.now, body)
        if blamed >= 0:
            assert (moved == TripReason.TRIP_CONSECUTIVE) == model.opens(blamed, POLICY.consecutive_failures)
        if moved:
            assert {target.circuit(part) for part in needs - {blamed}} <= {"closed"}
            assert (target.own == "open") == (blamed < 0)
            return


def test_pictures_fail_and_text_does_not() -> None:
    """Only the circuit of vision opens, whatever part of the traffic pictures are."""
    target = Target()
    target.works(STREAMING)
    assert [target.fails(STREAMING, VISION)[0] for _ in range(5)] == [VISION] * 5
    assert (target.circuit(VISION), target.circuit(STREAMING), target.own) == ("open", "closed", "closed")
    assert target.part.barred(bits([VISION, STREAMING]), target.now) == (VISION, False)
    assert target.part.barred(bits([STREAMING, TOOLS]), target.now) == (-1, False)
    assert target.part.take(bits([VISION]), target.now) is None


def test_a_total_outage_is_the_targets() -> None:
    """Streams and whole answers that fail in turns open the target's circuit, though a stream had just succeeded."""
    target = Target()
    target.works()
    target.works(STREAMING)
    blamed = [target.fails(*needs)[0] for needs in ((STREAMING,), (), (STREAMING,), (), (STREAMING, VISION))]
    assert blamed == [-1] * 5
    assert target.own == "open"


def test_streams_alone_are_blamed_once_others_succeed_meanwhile() -> None:
    """Before, a total outage could be meant; what failed until then counted against the target."""
    target = Target()
    target.works()
    assert target.fails(STREAMING)[0] == -1
    target.now += 1
    target.works(TOOLS)
    assert [target.fails(STREAMING)[0] for _ in range(5)] == [STREAMING] * 5
    assert (target.circuit(STREAMING), target.own) == ("open", "closed")


def test_the_one_that_has_not_proven_itself_is_blamed() -> None:
    """Of tools and pictures, which a request needs both, pictures are blamed if tools have just worked."""
    target = Target()
    target.works()
    target.works(TOOLS)
    assert target.fails(TOOLS, VISION)[0] == VISION
    target.works(VISION)
    target.works(VISION)
    assert target.fails(TOOLS, VISION)[0] == TOOLS


def test_one_body_is_one_request() -> None:
    """The same request again and again opens nothing; the next different one does."""
    target = Target()
    target.works()
    assert [target.fails(VISION, body=7)[1] for _ in range(20)] == [0] * 20
    assert target.fails(VISION, body=8) == (VISION, TripReason.TRIP_CONSECUTIVE)


def test_of_several_keys_two_have_to_fail() -> None:
    """A key that sends no pictures does not count; one whose pictures work protects them."""
    target = Target()
    target.works(key=1)
    target.works(VISION, key=2)
    assert [target.fails(VISION, key=3)[1] for _ in range(20)] == [0] * 20
    assert target.fails(VISION, key=2) == (VISION, TripReason.TRIP_CONSECUTIVE)


def test_a_second_different_refusal_is_enough() -> None:
    """A target that says that it has no eyes is believed after two requests, and without any success of others."""
    target = Target()
    for body, moved in ((1, 0), (1, 0), (2, TripReason.TRIP_DECLINED)):
        assert target.part.decline(target.take(VISION), VISION, target.now, body, -1, HALF) == moved
    assert (target.circuit(VISION), target.own) == ("open", "closed")


def opened() -> Target:
    """Return a target whose vision is open for one second."""
    target = Target()
    target.works()
    for _ in range(5):
        target.fails(VISION)
    return target


def test_one_request_tries_it_and_a_success_brings_it_back_slowly() -> None:
    """After the wait one request has the permit; then its share grows from a tenth over slow start."""
    target = opened()
    target.now += S
    assert target.part.barred(bits([VISION]), target.now) == (-1, True)
    trial = target.take(VISION)
    assert trial.trials == bits([VISION])
    assert target.part.take(bits([VISION]), target.now) is None
    target.part.work(trial, target.now)
    assert target.circuit(VISION) == "closed"
    assert target.part.share(bits([VISION]), target.now) == pytest.approx(0.1)
    target.now += 5 * S
    assert target.part.share(bits([VISION]), target.now) == pytest.approx(0.5, abs=0.01)
    target.now += 6 * S
    target.works(VISION)
    assert target.part.share(bits([VISION]), target.now) == 1.0


def test_a_trial_that_fails_doubles_the_wait_and_harms_nobody_else() -> None:
    """The target's own circuit does not notice."""
    target = opened()
    target.now += S
    assert target.fails(VISION) == (VISION, TripReason.TRIP_TRIAL)
    target.now += S
    assert target.part.barred(bits([VISION]), target.now) == (VISION, False)
    target.now += S
    assert target.part.barred(bits([VISION]), target.now) == (-1, True)
    assert target.own == "closed"


def test_a_permit_that_is_given_back_is_there_for_the_next() -> None:
    """A request that its caller got wrong proves nothing."""
    target = opened()
    target.now += S
    trial = target.take(VISION)
    target.part.give_back(trial, target.now)
    assert target.part.barred(bits([VISION]), target.now) == (-1, True)


def test_an_attempt_from_before_moves_nothing() -> None:
    """Outcomes of attempts that were admitted before the circuit opened neither close it nor open it again."""
    target = Target()
    target.works()
    late = [target.take(VISION) for _ in range(3)]
    for _ in range(5):
        target.fails(VISION)
    target.part.work(late[0], target.now)
    assert target.circuit(VISION) == "open"
    target.now += S
    target.works(VISION)
    for old in late[1:]:
        target.part.fail(old, target.now, 99)
    assert target.circuit(VISION) == "closed"


def test_a_new_target_in_the_slot_owes_nothing() -> None:
    """A cleared slot has no open capability, and outcomes of its former target are ignored."""
    target = Target()
    old = target.take(VISION)
    target.works()
    for _ in range(5):
        target.fails(VISION)
    target.state.clear_target(0)
    assert target.part.barred(bits([VISION]), target.now) == (-1, False)
    target.part.fail(old, target.now, 1)
    assert target.state.read_target(0, target.now)["capabilities"].get(VISION, {}).get("window", (0, 0, 0))[0] == 0


PNG = "iVBORw0KGgo" + "A" * 80
SAID: list[tuple[Operation, dict[str, Any], list[Capability]]] = [
    (Operation.OPERATION_CHAT, {"messages": [{"content": "image_url"}]}, [CHAT]),
    (Operation.OPERATION_CHAT, {"messages": [], "stream": True}, [CHAT, STREAMING]),
    (Operation.OPERATION_CHAT, {"messages": [], "tools": [{"type": "function"}]}, [CHAT, TOOLS]),
    (Operation.OPERATION_CHAT, {"messages": [], "tools": []}, [CHAT]),
    (Operation.OPERATION_CHAT, {"messages": [], "functions": [{"name": "f"}]}, [CHAT, TOOLS]),
    (Operation.OPERATION_CHAT, {"messages": [], "response_format": {"type": "json_object"}}, [CHAT, JSON]),
    (Operation.OPERATION_CHAT, {"messages": [], "reasoning_effort": "high"}, [CHAT, Capability.C_REASONING]),
    (Operation.OPERATION_CHAT, {"messages": [], "reasoning_effort": "none"}, [CHAT]),
    (Operation.OPERATION_CHAT, {"messages": [{"content": "a" * 131_073}]}, [CHAT, Capability.C_LONG_CONTEXT]),
    (
        Operation.OPERATION_CHAT,
        {"messages": [{"content": [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}]}]},
        [CHAT, VISION],
    ),
    (
        Operation.OPERATION_CHAT,
        {"messages": [{"content": [{"type": "image_url", "image_url": {"url": "https://a.example/a.png"}}]}]},
        [CHAT, VISION],
    ),
    (
        Operation.OPERATION_CHAT,
        {"messages": [{"content": [{"type": "input_audio", "input_audio": {"data": "A" * 90, "format": "mp3"}}]}]},
        [CHAT, Capability.C_AUDIO],
    ),
    (
        Operation.OPERATION_RESPONSES,
        {"input": [{"content": [{"type": "input_image", "image_url": "https://a.example/a.png"}]}]},
        [CHAT, VISION],
    ),
    (Operation.OPERATION_RESPONSES, {"input": "a", "reasoning": {"effort": "low"}}, [CHAT, Capability.C_REASONING]),
    (Operation.OPERATION_RESPONSES, {"input": "a", "text": {"format": {"type": "json_schema"}}}, [CHAT, JSON]),
    (
        Operation.OPERATION_MESSAGES,
        {
            "messages": [
                {
                    "content": [
                        {
                            "type": "tool_result",
                            "content": [
                                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
                            ],
                        }
                    ]
                }
            ],
            "thinking": {"type": "enabled", "budget_tokens": 1024},
        },
        [CHAT, VISION, Capability.C_REASONING],
    ),
    (
        Operation.OPERATION_MESSAGES,
        {
            "messages": [{"content": [{"type": "image", "source": {"type": "url", "url": "https://a.example/a.png"}}]}],
            "thinking": {"type": "disabled"},
        },
        [CHAT, VISION],
    ),
    (
        Operation.OPERATION_GENERATE,
        {
            "contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": PNG}}]}],
            "generationConfig": {"responseMimeType": "application/json", "thinkingConfig": {"thinkingBudget": 9}},
            "tools": [{"functionDeclarations": []}],
        },
        [CHAT, VISION, JSON, TOOLS, Capability.C_REASONING],
    ),
    (
        Operation.OPERATION_GENERATE,
        {"contents": [{"parts": [{"fileData": {"mimeType": "audio/mp3", "fileUri": "gs://a"}}]}]},
        [CHAT, Capability.C_AUDIO],
    ),
    (Operation.OPERATION_EMBEDDINGS, {"input": ["a", "b"]}, [Capability.C_EMBEDDINGS]),
    (Operation.OPERATION_SPEECH, {"input": "a"}, [Capability.C_AUDIO]),
    (Operation.OPERATION_COUNT_TOKENS, {"messages": [], "stream": True}, []),
]


@pytest.mark.parametrize(("operation", "body", "needs"), SAID)
def test_what_a_request_needs_is_read_from_its_body(
    operation: Operation, body: dict[str, Any], needs: list[Capability]
) -> None:
    """Pictures, sound, tools, structure and reasoning are found in every dialect; words in a text are not."""
    found = needs_in(operation, json.dumps({"model": "m", **body}).encode())
    assert [part for part in Capability if found >> part & 1] == sorted(needs)


@pytest.mark.parametrize(
    ("text", "needs", "found"),
    [
        (b"This model does not support image input.", [VISION, STREAMING], VISION),
        (b"No endpoints found that support tool use", [VISION, TOOLS], TOOLS),
        (b"No endpoints found that support image input", [TOOLS], -1),
        (b"'response_format' is not supported by this model", [JSON], JSON),
        (b"No response with id resp_1", [VISION, STREAMING, CHAT], -1),
    ],
)
def test_a_refusal_names_what_is_missing(text: bytes, needs: list[Capability], found: int) -> None:
    """Only what the request needs can be named, and only words that mean it."""
    assert named_in(text, bits(needs)) == found
