"""A configuration becomes the right Snapshot, and a reload keeps every record of the shared state."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from edge.balance import outcomes, policy
from edge.config.load import from_environment, read_text, simulated
from edge.config.schema import Config
from edge.control.compose import checked, compile_config
from edge.errors import ConfigInvalidError
from edge.providers import KNOWN
from edge.routing import slots as shared_state
from edge.routing.planner import allowance_capacity, capacities, plan
from edge.routing.table import model_document, models_document
from edge.terms.snapshot import (
    Allowance,
    Credential,
    Key,
    Member,
    Price,
    ServiceMatch,
    Snapshot,
    Target,
    Timeouts,
)
from tests.breakers import USUAL

if TYPE_CHECKING:
    from collections.abc import Mapping

S = 1_000_000_000

WHOLE = """
node: {region: eu-west, name: n1}
listen: [{address: "127.0.0.1:8080"}, {address: "[::1]:0"}]
providers:
  openai: {api_key: sk-1, headers: {OpenAI-Organization: org-1}, max_inflight: 9}
  local: {base_url: "http://10.0.0.5/v1/", jurisdiction: eu, capabilities: [chat], probe: ""}
models:
  chat:
    targets: [openai/gpt-4.1-mini, {target: local/org/qwen3, tier: 2, weight: 0.5}]
    timeouts: {first_token: 8s}
  same: {targets: [{target: openai/gpt-4.1-mini, tier: 3}]}
services:
  billing: {match: {host: Billing.Internal, path: /api/}, targets: ["10.0.0.9:8000", "[fd00::1]:80"], max_inflight: 5}
  secure: {match: {path: /s}, targets: ["s.internal:443"], tls: {}}
"""


def planned(
    config: Config,
    version: int = 1,
    slots: Mapping[str, int] | None = None,
    capacity: tuple[int, int] | None = None,
) -> Snapshot:
    """Compile as ``edge.control.compose`` does."""
    return plan(
        config,
        known=KNOWN,
        outcomes=outcomes.TABLES,
        breaker=policy.breaker,
        version=version,
        now=1000.5,
        slots=slots,
        capacity=capacity,
    )


def snapshot_of(text: str) -> Snapshot:
    """Compile YAML text."""
    return planned(read_text(text, environ={}).config)


def target(snapshot: Snapshot, name: str) -> Target:
    """Return the target with that id."""
    (found,) = [target for target in snapshot.targets if target.id == name]
    return found


def pool_of(*names: str) -> Config:
    """Return a configuration with one model that has these targets of a provider ``p``."""
    targets = ", ".join(f"p/{name}" for name in names)
    text = f"providers: {{p: {{base_url: 'http://10.0.0.1/v1'}}}}\nmodels: {{chat: {{targets: [{targets}]}}}}"
    return read_text(text, environ={}).config


def test_targets_are_made_once_in_the_order_of_the_file() -> None:
    """A target of two models is one target; the order is models, then wildcards, then services."""
    assert [target.id for target in snapshot_of(WHOLE).targets] == [
        "openai/gpt-4.1-mini",
        "local/org/qwen3",
        "openai/*",
        "local/*",
        "billing/10.0.0.9:8000",
        "billing/[fd00::1]:80",
        "secure/s.internal:443",
    ]


def test_a_known_provider_is_asked_as_it_wants() -> None:
    """A target has the URL, credential, fixed headers, probe, jurisdiction and outcome table of its provider."""
    openai = target(snapshot_of(WHOLE), "openai/gpt-4.1-mini")
    assert (openai.host, openai.port, openai.base_path, openai.model) == ("api.openai.com", 443, "/v1", "gpt-4.1-mini")
    assert openai.tls is not None
    assert (openai.tls.server_name, openai.tls.verify) == ("api.openai.com", True)
    assert openai.fields == (("authorization", "Bearer sk-1"), ("openai-organization", "org-1"))
    assert (openai.probe_path, openai.jurisdiction, openai.max_inflight) == ("/v1/models", "us", 9)
    assert openai.outcomes == "model:openai"


def test_a_provider_of_our_own_is_asked_plainly() -> None:
    """No key, no TLS, no probe; the model keeps all text after the first slash; the path loses its last slash."""
    local = target(snapshot_of(WHOLE), "local/org/qwen3")
    assert (local.host, local.port, local.base_path, local.model) == ("10.0.0.5", 80, "/v1", "org/qwen3")
    assert (local.tls, local.fields, local.probe_path, local.outcomes) == (None, (), None, "model")
    assert (local.jurisdiction, local.capabilities) == ("eu", ("chat",))


def test_a_wildcard_keeps_what_the_caller_wrote() -> None:
    """``openai/*`` has no model of its own, and a table in which a missing model is the caller's fault."""
    snapshot = snapshot_of(WHOLE)
    wildcard = target(snapshot, "openai/*")
    assert (wildcard.model, wildcard.outcomes) == ("", "model-wildcard:openai")
    route = snapshot.routes[snapshot.providers["openai"]]
    assert (route.name, [snapshot.targets[member.target].id for member in route.members]) == ("openai/*", ["openai/*"])
    assert list(snapshot.providers) == ["openai", "local"]


def test_models_have_aliases_and_direct_names() -> None:
    """Every alias and every configured target is a model; a direct name has its one target and the defaults."""
    snapshot = snapshot_of(WHOLE)
    assert list(snapshot.models) == ["chat", "same", "openai/gpt-4.1-mini", "local/org/qwen3"]
    chat = snapshot.routes[snapshot.models["chat"]]
    assert chat.members == (Member(0, tier=1, weight=1.0, window=1_047_576), Member(1, tier=2, weight=0.5))
    assert snapshot.routes[snapshot.models["same"]].members == (Member(0, tier=3, weight=1.0, window=1_047_576),)
    direct = snapshot.routes[snapshot.models["local/org/qwen3"]]
    assert direct.members == (Member(1, tier=1, weight=1.0),)
    assert (chat.timeouts.first_token_ns, direct.timeouts.first_token_ns) == (8 * S, 120 * S)


def test_services_are_matched_and_called() -> None:
    """A service's match is in lower case; its addresses are targets without a credential, with TLS if configured."""
    snapshot = snapshot_of(WHOLE)
    billing, secure = snapshot.services
    assert billing == ServiceMatch(billing.route, host="billing.internal", path="/api/", grpc="")
    assert snapshot.routes[billing.route].kind == "service"
    address = target(snapshot, "billing/[fd00::1]:80")
    assert (address.kind, address.host, address.port, address.outcomes) == ("service", "fd00::1", 80, "service")
    assert (address.fields, address.tls, address.max_inflight) == ((), None, 5)
    over_tls = target(snapshot, "secure/s.internal:443")
    assert over_tls.tls is not None
    assert over_tls.tls.server_name == "s.internal"
    assert snapshot.routes[secure.route].members == (Member(6, tier=1, weight=1.0),)


def test_listeners_and_limits_are_carried_over() -> None:
    """The listeners and limits of the Snapshot are those of the configuration."""
    snapshot = snapshot_of(WHOLE)
    assert [(listener.host, listener.port) for listener in snapshot.listeners] == [("127.0.0.1", 8080), ("::1", 0)]
    assert (snapshot.region, snapshot.node, snapshot.version, snapshot.created) == ("eu-west", "n1", 1, 1000.5)
    assert snapshot.limits.keepalive_comment_ns == 15 * S
    assert snapshot.limits.body == 32 * 1024**2


def test_every_table_that_a_target_names_is_there() -> None:
    """A target's outcome table exists, and its hints refine only that table."""
    snapshot = planned(from_environment(dict.fromkeys(_variables(), "k"), KNOWN) or Config())
    for each in snapshot.targets:
        assert len(snapshot.outcomes[each.outcomes]) == outcomes.STATUSES
    assert set(snapshot.hints) <= set(snapshot.outcomes)
    assert snapshot.hints["model-wildcard:deepseek"] == ((400, b'"Model Not Exist"', 1),)
    assert snapshot.hints["model:deepseek"] == ((400, b'"Model Not Exist"', 5),)


def test_a_snapshot_survives_the_wire() -> None:
    """A worker decodes the Snapshot that control sends."""
    snapshot = snapshot_of(WHOLE)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(snapshot), type=Snapshot) == snapshot


def test_a_breaker_is_the_kernels_words() -> None:
    """Every field of the breaker has its unit; the default slow_threshold is half of its deadline."""
    snapshot = snapshot_of(WHOLE + "defaults: {breaker: {window: 5s}, timeouts: {first_byte: 9s}}")
    chat = snapshot.routes[snapshot.models["chat"]]
    assert chat.breaker == structs.replace(USUAL, window_ns=5 * S, slow_threshold_ns=4 * S, slow_adaptive=True)
    assert snapshot.routes[snapshot.services[0].route].breaker.slow_threshold_ns == 9 * S // 2
    assert chat.timeouts == Timeouts(
        connect_ns=2 * S,
        first_byte_ns=9 * S,
        whole_first_byte_ns=9 * S,
        first_token_ns=8 * S,
        stream_idle_ns=60 * S,
        total_ns=600 * S,
    )


def test_a_whole_response_has_no_first_byte_deadline_unless_it_is_written() -> None:
    """The default ``first_byte`` applies to streams and services only; a configured one to complete responses too."""
    silent, written = snapshot_of(WHOLE), snapshot_of(WHOLE + "defaults: {timeouts: {first_byte: 9s}}")
    chat = silent.routes[silent.models["chat"]].timeouts
    assert (chat.first_byte_ns, chat.whole_first_byte_ns) == (120 * S, 0)
    chat = written.routes[written.models["chat"]].timeouts
    assert (chat.first_byte_ns, chat.whole_first_byte_ns) == (9 * S, 9 * S)


def test_slow_threshold_is_taken_when_it_is_written() -> None:
    """A configured threshold is not changed."""
    snapshot = snapshot_of(WHOLE + "defaults: {breaker: {slow_threshold: 700ms}}")
    assert {route.breaker.slow_threshold_ns for route in snapshot.routes} == {700_000_000}
    assert {route.breaker.slow_adaptive for route in snapshot.routes} == {False}


def test_the_same_configuration_plans_the_same_snapshot() -> None:
    """Planning is a pure function: a reload without a change changes only the version."""
    config = read_text(WHOLE, environ={}).config
    first = planned(config)
    assert msgspec.structs.replace(planned(config, 2, first.slots), version=1) == first


KEYED = """
providers:
  openai:
    api_key: sk-1
    limits: {requests_per_minute: 500, tokens_per_minute: 90000, scope: global}
    prices: {gpt-4.1-mini: {input: 0.5}, "*": {input: 9, output: 10}}
  local: {base_url: "http://10.0.0.5/v1"}
models: {chat: {targets: [openai/gpt-4.1-mini, openai/own-name, local/qwen3]}}
keys:
  - {name: plain, sha256: "{AA}"}
  - name: bound
    sha256: "{BB}"
    models: [chat, "openai/*"]
    requests_per_minute: 600
    tokens_per_minute: 2000
    requests_burst: 7
    concurrent: 3
    budget: 12.5
    priority: high
    scope: global
  - {name: few, sha256: "{CC}", requests_per_minute: 5, tokens_per_minute: 100, tokens_burst: 50, priority: low}
"""
for letters in ("AA", "BB", "CC"):
    KEYED = KEYED.replace(f"{{{letters}}}", (letters if letters == "BB" else letters.lower()) * 32)


def test_keys_are_numbers_for_the_data_path() -> None:
    """A key has the Snapshot's units, filled-in bursts, its hash in lower case, and its own record."""
    plain, bound, few = snapshot_of(KEYED).keys
    assert plain == Key("plain", "aa" * 32, 0, (), Allowance(0, 0, 0, 0, 0, shared=False), 0, 0, 1, (), (), ())
    assert bound == Key(
        "bound",
        "bb" * 32,
        1,
        ("chat", "openai/*"),
        Allowance(1, 600, 2000, 7, 2000, shared=True),
        concurrent=3,
        budget_nano=12_500_000_000,
        priority=0,
        identities=(),
        groups=(),
        certificates=(),
    )
    assert (few.allowance, few.priority) == (Allowance(2, 5, 100, 1, 50, shared=False), 2)


@pytest.mark.parametrize(
    ("written", "nano"),
    [("0.0000000000001", 1), ("0.0000000014", 1), ("0.1", 100_000_000), ("1000000000", 10**18)],
)
def test_a_budget_is_a_bound_however_small(written: str, nano: int) -> None:
    """A tiny budget is rounded up to the smallest unit, because 0 would mean no limit."""
    assert snapshot_of(KEYED.replace("budget: 12.5", f"budget: {written}")).keys[1].budget_nano == nano


def test_a_limited_credential_has_its_own_record() -> None:
    """All targets of a provider with limits share one allowance; other providers have none."""
    snapshot = snapshot_of(KEYED)
    assert snapshot.credentials == (Credential("openai", Allowance(3, 500, 90000, 50, 90000, shared=True)),)
    credentials = {each.id: each.credential for each in snapshot.targets}
    assert credentials == {
        "openai/gpt-4.1-mini": 0,
        "openai/own-name": 0,
        "openai/*": 0,
        "local/qwen3": -1,
        "local/*": -1,
    }


def test_a_price_is_the_operators_else_the_catalogues_else_unknown() -> None:
    """A configured price wins; `*` covers models that neither the file nor edge names; otherwise the price is 0."""
    snapshot = snapshot_of(KEYED)
    prices = {
        each.id: (each.price.input, each.price.output, each.price.known) for each in snapshot.targets if each.price
    }
    assert prices == {
        "openai/gpt-4.1-mini": (0.5, 0.0, True),
        "openai/own-name": (9.0, 10.0, True),
        "openai/*": (9.0, 10.0, True),
        "local/qwen3": (0.0, 0.0, False),
        "local/*": (0.0, 0.0, False),
    }


def test_a_wildcard_target_knows_the_price_of_each_model() -> None:
    """What the file or the catalogue says of a model holds for provider/model too, with the limit of its answers."""
    wildcard = target(snapshot_of(KEYED), "openai/*")
    known = {model: (price.input, price.max_output) for model, price in wildcard.model_prices.items()}
    assert {model: known[model] for model in ("gpt-4.1-mini", "gpt-4o", "o3")} == {
        "gpt-4.1-mini": (0.5, 32_768),
        "gpt-4o": (2.5, 16_384),
        "o3": (2.0, 100_000),
    }
    assert target(snapshot_of(KEYED), "openai/own-name").model_prices == {}


def test_kinds_of_tokens_without_a_price_cost_what_the_others_do() -> None:
    """Cached and spoken tokens of a prompt follow its price, reasoning and spoken answers that of the answer."""
    written = (
        "{openai: {prices: {a: {input: 3, output: 8}, b: {input: 3, output: 8, audio: 9, cached_input: 0, image: 1}}}}"
    )
    text = f"providers: {written}\nmodels: {{a: {{targets: [openai/a, openai/b]}}}}"
    first, second = (target(snapshot_of(text), f"openai/{model}").price for model in "ab")
    assert first == Price(True, 3, 8, 3, 8, 3, 8, 3, 131_072)
    assert second == Price(True, 3, 8, 0, 8, 9, 9, 1, 131_072)


def test_known_prices_of_sound_are_planned() -> None:
    """Sound in a prompt has the catalogue's price where it has one, by a dated name too; a written price wins whole."""
    text = """
providers: {gemini: {api_key: x, prices: {gemini-2.5-flash-lite: {input: 3, output: 8}}}}
models:
  a: {targets: [gemini/gemini-2.5-flash, gemini/gemini-2.5-flash-2026-01-01]}
  b: {targets: [gemini/gemini-2.5-flash-lite, gemini/gemini-2.5-pro]}
"""
    snapshot = snapshot_of(text)
    expected = {
        "gemini-2.5-flash": 1.0,
        "gemini-2.5-flash-2026-01-01": 1.0,
        "gemini-2.5-flash-lite": 3,
        "gemini-2.5-pro": 2.5,
    }
    for model, audio in expected.items():
        price = target(snapshot, f"gemini/{model}").price
        assert price is not None
        assert price.audio_input == audio
    assert target(snapshot, "gemini/gemini-2.5-flash").price == Price(True, 0.3, 2.5, 0.03, 2.5, 1.0, 1.0, 0.3, 65_536)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gpt-4.1-nano", (0.1, 0.4)),
        ("gpt-4.1-nano-2025-04-14", (0.1, 0.4)),
        ("gpt-4.1-mini-2025-04-14", (0.5, 0.0)),
        ("gpt-4.1-mini-20250414", (0.5, 0.0)),
        ("gpt-4.1-mini-2025", (9.0, 10.0)),
        ("gpt-4o-2024-05-13", (5.0, 15.0)),
        ("nobody-knows", (9.0, 10.0)),
    ],
)
def test_a_dated_name_costs_what_its_model_does(model: str, expected: tuple[float, float]) -> None:
    """A dated name has the price of its model, unless it is named itself in the file or the catalogue."""
    text = KEYED.replace("openai/own-name", f"openai/{model}")
    priced = target(snapshot_of(text), f"openai/{model}")
    assert priced.price is not None
    assert (priced.price.input, priced.price.output) == expected


def test_allowances_keep_their_records_over_reloads() -> None:
    """A key keeps its record, and thus its use, even if its hash and limits change."""
    first = planned(read_text(KEYED, environ={}).config)
    text = KEYED.replace("{name: plain", "{name: new").replace("BB" * 32, "dd" * 32)
    second = planned(read_text(text, environ={}).config, 2, first.slots)
    assert {key.name: key.slot for key in second.keys} == {"bound": 1, "few": 2, "new": 4}
    assert second.credentials == first.credentials
    third = planned(read_text(KEYED, environ={}).config, 3, second.slots)
    assert {key.name: key.slot for key in third.keys} == {"bound": 1, "few": 2, "plain": 0}


def test_more_keys_than_the_board_holds_are_refused() -> None:
    """A reload with too many allowances is refused with a remedy; a new shared state is made large enough."""
    config = read_text(KEYED, environ={}).config
    first = planned(config)
    assert allowance_capacity(first) == 64
    with pytest.raises(ConfigInvalidError, match="4 keys and limited providers need more records than the 3"):
        plan(
            config,
            known=KNOWN,
            outcomes=outcomes.TABLES,
            breaker=policy.breaker,
            version=2,
            now=1.0,
            slots=first.slots,
            allowance_capacity=3,
        )


def test_a_record_that_goes_to_another_is_named() -> None:
    """A record with a new owner is reported, of each kind separately; a kept record is not."""
    before = {"p/a": 0, "p/b": 1, "route:x": 0, "key:k": 0, "credential:p": 1}
    after = {"p/a": 0, "p/c": 1, "p/d": 2, "route:y": 0, "key:k": 0, "key:l": 1, "credential:q": 2}
    assert shared_state.taken_over(after, before) == {"p/c": 1, "route:y": 0, "key:l": 1}


def test_a_listener_says_whether_it_asks_for_keys() -> None:
    """``allow_anonymous`` reaches the workers."""
    snapshot = snapshot_of(WHOLE.replace('{address: "[::1]:0"}', '{address: "[::1]:0", allow_anonymous: true}'))
    assert [listener.allow_anonymous for listener in snapshot.listeners] == [False, True]


def test_slots_are_distinct_and_start_at_nought() -> None:
    """Targets have their own records, and so have routes; both are numbered from 0."""
    snapshot = snapshot_of(WHOLE)
    assert sorted(target.slot for target in snapshot.targets) == list(range(7))
    assert sorted(route.slot for route in snapshot.routes) == list(range(9))


def test_a_reload_moves_nobody() -> None:
    """Kept targets keep their records when others are added, removed and reordered; unused records are taken first."""
    first = planned(pool_of("a", "b", "c"))
    second = planned(pool_of("d", "c", "a"), 2, first.slots)
    before = {target.id: target.slot for target in first.targets}
    after = {target.id: target.slot for target in second.targets}
    assert (after["p/a"], after["p/c"]) == (before["p/a"], before["p/c"])
    assert after["p/d"] not in before.values()
    third = planned(pool_of("b"), 3, second.slots)
    assert target(third, "p/b").slot == before["p/b"], "it came back and finds its history"


def test_freed_records_are_reused_oldest_first_when_the_board_is_full() -> None:
    """Without an unused record, a new target gets the record that has been free the longest."""
    first = planned(pool_of("a", "b", "c"))
    second = planned(pool_of("a", "c"), 2, first.slots)
    third = planned(pool_of("c"), 3, second.slots)
    fourth = planned(pool_of("x", "c"), 4, third.slots, (4, 64))
    assert target(fourth, "p/x").slot == target(first, "p/b").slot
    assert target(fourth, "p/c").slot == target(first, "p/c").slot
    assert "p/b" not in fourth.slots
    assert fourth.slots["p/a"] == target(first, "p/a").slot


def test_more_than_the_board_holds_is_refused() -> None:
    """A reload with too many records is refused with a remedy."""
    with pytest.raises(ConfigInvalidError, match=r"3 targets need more records than the 2 .* restart it"):
        planned(pool_of("a", "b"), capacity=(2, 64))
    with pytest.raises(ConfigInvalidError, match="5 routes need more records than the 3"):
        planned(pool_of("a", "b"), capacity=(64, 3))


@given(
    pools=st.lists(st.sets(st.sampled_from("abcdefgh"), min_size=1, max_size=5), min_size=1, max_size=8),
    capacity=st.none() | st.integers(5, 9),
)
def test_slots_hold_their_promises_over_any_reloads(pools: list[set[str]], capacity: int | None) -> None:
    """Over any reloads: one record each, within the shared state, and kept targets keep their records."""
    slots: dict[str, int] = {}
    for pool in pools:
        names = sorted(pool)
        after = shared_state.assign(names, slots, capacity, "targets")
        live = {name: after[name] for name in names}
        assert len(set(after.values())) == len(after)
        assert all(live[name] == slots[name] for name in names if name in slots)
        assert capacity is None or max(after.values()) < capacity
        slots = after


@pytest.mark.parametrize(("highest", "records"), [(0, 64), (31, 64), (32, 128), (99, 256)])
def test_a_board_has_room_for_reloads(highest: int, records: int) -> None:
    """There is room for twice as many records, and for at least 64."""
    assert shared_state.room(highest) == records


def test_capacities_follow_the_highest_record() -> None:
    """A shared state made for a Snapshot holds all of its records, even if their numbers are sparse."""
    snapshot = planned(pool_of("a"), slots={"p/a": 99, "route:chat": 40})
    targets, routes = capacities(snapshot)
    assert (targets, routes) == (256, 128)


def test_the_list_of_models_is_openais() -> None:
    """Aliases first, owned by edge; then direct names, owned by their provider; wildcards are not listed."""
    snapshot = snapshot_of(WHOLE)
    listed = json.loads(models_document(snapshot))
    assert listed["object"] == "list"
    assert [(model["id"], model["owned_by"]) for model in listed["data"]] == [
        ("chat", "edge"),
        ("same", "edge"),
        ("openai/gpt-4.1-mini", "openai"),
        ("local/org/qwen3", "local"),
    ]
    assert {(model["object"], model["created"]) for model in listed["data"]} == {("model", 1000)}


def test_one_model_is_the_lists_entry_or_nothing() -> None:
    """``GET /v1/models/{id}`` agrees with the list, with slashes too; an unknown model has no document."""
    snapshot = snapshot_of(WHOLE)
    listed = json.loads(models_document(snapshot))["data"]
    for entry in listed:
        document = model_document(snapshot, entry["id"])
        assert document is not None
        assert json.loads(document) == entry
    assert model_document(snapshot, "openai/*") is None


def test_simulated_providers_become_tiers() -> None:
    """Each base URL is one provider in its own tier of ``chat`` and ``embed``."""
    snapshot = planned(simulated(["http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1"]))
    for alias, model in (("chat", "sim-small"), ("embed", "sim-embed")):
        route = snapshot.routes[snapshot.models[alias]]
        members = [(snapshot.targets[member.target].id, member.tier) for member in route.members]
        assert members == [(f"sim-a/{model}", 1), (f"sim-b/{model}", 2)]


def _variables() -> list[str]:
    return [variable for known in KNOWN.values() for variable in known.key_variables]


def test_a_kind_gives_its_facts_under_another_name() -> None:
    """A provider with a kind has that kind's URL, dialect, credential field, capabilities and probe."""
    text = """
providers:
  mine: {kind: anthropic, api_key: sk-1}
  az: {kind: azure-openai, base_url: "https://x.openai.azure.com", api_key: sk-2, api_version: "2024-10-21"}
  az1: {kind: azure-openai, base_url: "https://x.openai.azure.com", api_key: sk-2}
models:
  m: {targets: [mine/claude, az/gpt, az1/gpt]}
"""
    snapshot = compile_config(checked(read_text(text, "test.yaml", environ={})), now=1.0)
    mine, az, az1 = (
        next(one for one in snapshot.targets if one.id == name) for name in ("mine/claude", "az/gpt", "az1/gpt")
    )
    assert (mine.dialect, mine.host, mine.fields) == ("anthropic", "api.anthropic.com", (("x-api-key", "sk-1"),))
    assert (az.base_path, az.fields, az.api_version) == ("/openai", (("api-key", "sk-2"),), "2024-10-21")
    assert az.probe_path == "/openai/models?api-version=2024-10-21"
    assert (az1.base_path, az1.api_version, az1.probe_path) == ("/openai/v1", "", "/openai/v1/models")
    assert "files" in az.capabilities
