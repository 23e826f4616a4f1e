"""A request reaches the route that the Snapshot defines for it, and no other."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.terms.snapshot import Member, Peers, Retry, Route, ServiceMatch, Snapshot, Target, Timeouts
from native.proxy.router import Operation, Rescue, Router
from native.state.shared_state import SharedState
from tests import snapshots
from tests.breakers import USUAL
from tests.reference import router as twin
from tests.snapshots import member, service_match

S = 1_000_000_000
TIMEOUTS = Timeouts(
    connect_ns=2 * S,
    first_byte_ns=10 * S,
    whole_first_byte_ns=0,
    first_token_ns=20 * S,
    stream_idle_ns=15 * S,
    total_ns=120 * S,
)


def target(slot: int) -> Target:
    """A provider's target with default settings."""
    return snapshots.target(f"t{slot}", slot, max_inflight=slot)


def route(slot: int, name: str, *members: Member, kind: str = "model") -> Route:
    """A route with the default policy."""
    policy = {
        "timeouts": TIMEOUTS,
        "retry": Retry(3, 0.2, idempotent=False, same_target=0, wait_ns=0),
        "breaker": USUAL,
        "rescue": "text",
        "hedge": None,
        "cache": None,
    }
    return snapshots.route(slot, name, *(members or (member(0),)), kind=kind, **policy)


def snapshot(**changes: object) -> Snapshot:
    """Three targets, four routes: an alias, a wildcard and two services."""
    return msgspec.structs.replace(
        snapshots.snapshot(
            targets=tuple(target(slot) for slot in range(3)),
            routes=(
                route(0, "chat", member(0), member(2, tier=2, weight=3.0)),
                route(1, "openai/*", member(1)),
                route(2, "billing", member(2), kind="service"),
                route(3, "pages", member(2), kind="service"),
            ),
            models={"chat": 0, "openai/gpt": 0, "größe": 0},
            providers={"openai": 1},
            services=(service_match(2, host="billing.internal"), service_match(3, path="/")),
        ),
        **changes,
    )


@pytest.fixture
def router(shared_state: SharedState) -> Router:
    """The Snapshot above, compiled."""
    return Router(snapshot(), shared_state, 4)


def test_a_route_carries_its_policy(router: Router) -> None:
    """A route has every duration, the attempts, the budget, the members and their tiers of the Snapshot."""
    chat = router.routes[0]
    assert (chat.name, chat.slot, chat.is_service, chat.rescue) == ("chat", 0, False, Rescue.RESCUE_TEXT)
    assert chat.timeouts == msgspec.structs.asdict(TIMEOUTS)
    assert (chat.attempts, chat.budget) == (3, 0.2)
    assert [member.id for member in chat.pool.targets] == ["t0", "t2"]
    assert router.routes[2].is_service


def test_routes_share_their_targets(router: Router) -> None:
    """A target is one object and one record, in any number of pools."""
    assert router.routes[0].pool.targets[1] is router.routes[3].pool.targets[0] is router.targets[2]
    assert [member.max_inflight for member in router.targets] == [0, 1, 2]
    assert router.targets[1].plan is router.snapshot.targets[1]


def test_a_trials_permit_lasts_as_long_as_a_trial_can(router: Router, shared_state: SharedState) -> None:
    """The permit expires after the connect and the longer of first byte and first token."""
    pool = router.routes[1].pool
    for _ in range(5):
        pool.report(0, S, 0, failed=True)
    now = shared_state.read_target(1, S)["until_ns"]
    pool.take_one(0, now)
    assert shared_state.read_target(1, S)["until_ns"] - now == 22 * S


def test_an_alias_wins_over_a_wildcard(router: Router) -> None:
    """``openai/gpt`` is configured; ``openai/other`` goes to the provider by its own name; other models are unknown."""
    found = {name: router.find_model(name.encode()) for name in ("chat", "openai/gpt", "openai/a/b", "größe")}
    assert {name: (place.name if place else None, rest) for name, (place, rest) in found.items()} == {
        "chat": ("chat", None),
        "openai/gpt": ("chat", None),
        "openai/a/b": ("openai/*", b"a/b"),
        "größe": ("chat", None),
    }


@pytest.mark.parametrize("peers", [None, Peers("a-token-of-all-regions", ())])
def test_callers_of_peers_may_be_of_any_class(shared_state: SharedState, peers: Peers | None) -> None:
    """A node without keys reserves capacity for the high class if other regions may send some of it."""
    crowded = msgspec.structs.replace(target(0), max_inflight=10)
    plan = snapshot(targets=(crowded, target(1), target(2)), peers=peers)
    pool = (
        Router(msgspec.structs.replace(plan, routes=(route(0, "chat"), *plan.routes[1:])), shared_state, 4)
        .routes[0]
        .pool
    )
    for _ in range(8):
        pool.targets[0].enter(0, 1)
    normal, high = (pool.choose(S, 0, priority=priority)[0] for priority in (1, 0))
    assert (normal, high) == ((0, 0) if peers is None else (-1, 0))


@pytest.mark.parametrize("name", [b"", b"/", b"openai", b"openai/", b"/gpt", b"other/gpt", b"Chat", b"chat ", b"\xff"])
def test_an_unknown_model_has_no_route(router: Router, name: bytes) -> None:
    """Model names are exact: no case folding, no trimming, no empty part, no invalid UTF-8."""
    assert router.find_model(name) == (None, None)


@pytest.mark.parametrize(
    ("path", "operation"),
    [
        (b"/v1/chat/completions", Operation.OPERATION_CHAT),
        (b"/v1/completions", Operation.OPERATION_COMPLETIONS),
        (b"/v1/embeddings", Operation.OPERATION_EMBEDDINGS),
        (b"/v1/responses", Operation.OPERATION_RESPONSES),
        (b"/v1/moderations", Operation.OPERATION_MODERATION),
        (b"/v1/rerank", Operation.OPERATION_RERANK),
        (b"/v2/rerank", Operation.OPERATION_RERANK),
        (b"/v2/moderations", Operation.OPERATION_UNKNOWN),
        (b"/v1/images/generations", Operation.OPERATION_IMAGE),
        (b"/v1/audio/speech/", Operation.OPERATION_SPEECH),
        (b"/v1/audio/transcriptions", Operation.OPERATION_TRANSCRIPTION),
        (b"/v1/audio/translations", Operation.OPERATION_TRANSLATION),
        (b"/v1/images/edits", Operation.OPERATION_IMAGE_EDIT),
        (b"/v1/responses/resp_1", Operation.OPERATION_RESPONSE),
        (b"/v1/responses/resp_1/input_items/", Operation.OPERATION_RESPONSE),
        (b"/v1/responses/compact", Operation.OPERATION_COMPACT),
        (b"/v1/conversations", Operation.OPERATION_CONVERSATIONS),
        (b"/v1/files", Operation.OPERATION_FILES),
        (b"/v1/uploads/upload_1/parts", Operation.OPERATION_FILES),
        (b"/v1/batches/batch_1/cancel", Operation.OPERATION_BATCHES),
        (b"/v1/fine_tuning", Operation.OPERATION_UNKNOWN),
        (b"/v1/fine_tuning/jobs", Operation.OPERATION_FINE_TUNING),
        (b"/v1/vector_stores/vs_1/search", Operation.OPERATION_VECTOR_STORES),
        (b"/vector_stores", Operation.OPERATION_VECTOR_STORES),
        (b"/responses", Operation.OPERATION_RESPONSES),
        (b"/models", Operation.OPERATION_MODELS),
        (b"/models/", Operation.OPERATION_MODELS),
        (b"/openai/deployments/d/chat/completions", Operation.OPERATION_CHAT),
        (b"/openai/deployments/d/files", Operation.OPERATION_UNKNOWN),
        (b"/openai/deployments//chat/completions", Operation.OPERATION_UNKNOWN),
        (b"/openai/v1/responses", Operation.OPERATION_RESPONSES),
        (b"/openai/files", Operation.OPERATION_FILES),
        (b"/healthz/x", Operation.OPERATION_UNKNOWN),
        (b"/v1/images/variations", Operation.OPERATION_IMAGE_VARIATION),
        (b"/v1/models", Operation.OPERATION_MODELS),
        (b"/v1/models/openai/gpt", Operation.OPERATION_MODELS),
        (b"/healthz", Operation.OPERATION_HEALTH),
        (b"/v1/models/", Operation.OPERATION_UNKNOWN),
        (b"/v1/chat/completions/", Operation.OPERATION_CHAT),
        (b"/chat/completions", Operation.OPERATION_CHAT),
        (b"/chat/completions/", Operation.OPERATION_CHAT),
        (b"/v1/chat/completions//", Operation.OPERATION_UNKNOWN),
        (b"/", Operation.OPERATION_UNKNOWN),
        (b"/v1/messages", Operation.OPERATION_MESSAGES),
        (b"/v1/messages/count_tokens", Operation.OPERATION_COUNT_TOKENS),
        (b"/v1/messages/batches", Operation.OPERATION_BATCHES),
        (b"/v1/messages/batches/msgbatch_1/results", Operation.OPERATION_BATCHES),
        (b"/messages/batches/msgbatch_1", Operation.OPERATION_BATCHES),
        (b"/v1/messages/batchesx", Operation.OPERATION_UNKNOWN),
        (b"/v1/messages/other", Operation.OPERATION_UNKNOWN),
        (b"/v1beta/files", Operation.OPERATION_FILES),
        (b"/v1beta/files/a:download", Operation.OPERATION_FILES),
        (b"/upload/v1beta/files", Operation.OPERATION_FILES),
        (b"/upload/v1/files/", Operation.OPERATION_FILES),
        (b"/upload/v1/models", Operation.OPERATION_UNKNOWN),
        (b"/v1beta/models/a/b:generateContent", Operation.OPERATION_GENERATE),
        (b"/v1/models/a:generateContent", Operation.OPERATION_GENERATE),
        (b"/v1beta/models/a:streamGenerateContent", Operation.OPERATION_STREAM),
        (b"/v1beta/models/:generateContent", Operation.OPERATION_UNKNOWN),
        (b"/v1beta/models/a:countTokens", Operation.OPERATION_CONTENT_TOKENS),
        (b"/v1/models/a/b:embedContent", Operation.OPERATION_EMBED),
        (b"/v1beta/models/a:batchEmbedContents/", Operation.OPERATION_EMBED),
        (b"/v1beta/models/:embedContent", Operation.OPERATION_UNKNOWN),
        (b"/v1beta/models/a:computeTokens", Operation.OPERATION_UNKNOWN),
        (b"/v2/models/a:generateContent", Operation.OPERATION_UNKNOWN),
        (b"/V1/models", Operation.OPERATION_UNKNOWN),
        (b"/v1//models", Operation.OPERATION_UNKNOWN),
        (b"", Operation.OPERATION_UNKNOWN),
    ],
)
def test_own_paths_are_exact(router: Router, path: bytes, operation: Operation) -> None:
    """Edge's own paths are those, with a slash at the end or not; chat completions also without ``/v1``."""
    assert router.find_operation(path) == operation


def test_the_public_status_is_an_own_path_where_it_is_shown(shared_state: SharedState) -> None:
    """With ``public_status`` its two paths are edge's own, exactly spelled; without it a service may have them."""
    shown, hidden = (Router(snapshot(public_status=on), shared_state, 4) for on in (True, False))
    for path in (b"/edge/status", b"/edge/status.html"):
        assert shown.find_operation(path) == Operation.OPERATION_HEALTH
        assert shown.find_service(b"edge", path) is None
        assert hidden.find_operation(path) == Operation.OPERATION_UNKNOWN
        assert hidden.find_service(b"edge", path).name == "pages"
    assert shown.find_operation(b"/edge/status/") == Operation.OPERATION_UNKNOWN


def test_a_catch_all_service_does_not_take_own_paths(router: Router) -> None:
    """A service for any host does not get edge's own paths; a service that names the host gets all paths."""
    found = {
        (host, path): router.find_service(host, path)
        for host in (b"billing.internal", b"edge", b"")
        for path in (b"/v1/chat/completions", b"/healthz", b"/x")
    }
    names = {where: place.name if place else None for where, place in found.items()}
    assert [names[b"billing.internal", path] for path in (b"/v1/chat/completions", b"/healthz", b"/x")] == [
        "billing"
    ] * 3
    for host in (b"edge", b""):
        assert [names[host, path] for path in (b"/v1/chat/completions", b"/healthz", b"/x")] == [None, None, "pages"]


def test_prefixes_end_at_a_segment(shared_state: SharedState) -> None:
    """``/api`` matches itself and the paths below it, ``/api/`` only the paths below it."""
    matches = (service_match(2, path="/api"), service_match(3, path="/web/"))
    router = Router(snapshot(services=matches), shared_state, 1)
    paths = [b"/api", b"/api/x", b"/apix", b"/web", b"/web/", b"/web/x", b"/"]
    found = [router.find_service(b"any", path) for path in paths]
    assert [place.name if place else None for place in found] == [
        "billing", "billing", None, None, "pages", "pages", None,
    ]  # fmt: skip


def test_a_grpc_service_is_its_path(shared_state: SharedState) -> None:
    """A match by gRPC name takes that service's methods only."""
    router = Router(snapshot(services=(service_match(2, grpc="helloworld.Greeter"),)), shared_state, 1)
    found = [router.find_service(b"", path) for path in (b"/helloworld.Greeter/SayHello", b"/helloworld.Greet/X", b"/")]
    assert [place.name if place else None for place in found] == ["billing", None, None]


def test_a_slot_that_is_not_on_the_board_is_an_error() -> None:
    """A Snapshot made for a larger shared state is refused as a whole."""
    with pytest.raises(IndexError, match="slot 2"):
        Router(snapshot(), SharedState.create(2, 4, 1), 1)
    with pytest.raises(IndexError, match="slot 1"):
        Router(snapshot(), SharedState.create(3, 1, 1), 1)


PARTS = st.sampled_from(
    [
        "a",
        "b",
        "v1",
        "models",
        "healthz",
        "chat",
        "completions",
        "openai",
        "deployments",
        "responses",
        "files",
        "vector_stores",
        "fine_tuning",
        "compact",
        "",
    ]
)
PATHS = st.lists(PARTS, max_size=5).map(lambda parts: "/" + "/".join(parts))
HOSTS = st.sampled_from(["", "a", "b.internal"])
MATCHES = st.lists(
    st.builds(service_match, st.integers(0, 3), host=HOSTS, path=st.one_of(st.just(""), PATHS)),
    max_size=6,
    unique_by=lambda match: (match.host, match.path),
)


@settings(max_examples=300)
@given(matches=MATCHES, host=HOSTS, path=PATHS)
def test_services_are_found_as_by_the_twin(matches: list[ServiceMatch], host: str, path: str) -> None:
    """A named host wins over any host, the longest prefix wins, edge's own paths are kept: for any set of services."""
    plan = snapshot(services=tuple(matches))
    router = Router(plan, SharedState.create(3, 4, 1), 1)
    found = router.find_service(host.encode(), path.encode())
    assert (found.name if found else None) == twin.service(plan, host, path)
    assert router.find_operation(path.encode()) == (twin.operation(path) or twin.short_operation(path))


NAMES = st.lists(st.sampled_from(["a", "b", "/", "openai", "é"]), max_size=4).map("".join)


@given(
    aliases=st.dictionaries(NAMES, st.integers(0, 3)), providers=st.dictionaries(NAMES, st.integers(0, 3)), name=NAMES
)
def test_models_are_found_as_by_the_twin(aliases: dict[str, int], providers: dict[str, int], name: str) -> None:
    """Alias first, then the provider before the first slash: for any names, with slashes and empty ones."""
    plan = snapshot(models=aliases, providers=providers)
    found, rest = Router(plan, SharedState.create(3, 4, 1), 1).find_model(name.encode())
    expected, tail = twin.model(plan, name)
    assert (found.name if found else None, rest) == (expected, tail.encode() if tail is not None else None)
