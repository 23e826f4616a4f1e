"""The description of each provider is complete and usable."""

from __future__ import annotations

import importlib
import re
import statistics
import time

import pytest

from edge.balance.outcomes import ACTIONS, STATUSES
from edge.config import addresses
from edge.config.check import check
from edge.config.load import from_environment
from edge.config.problems import Document
from edge.config.schema import Config
from edge.providers import IN_ENVIRONMENT, KNOWN
from edge.providers.retry_after import retry_after_seconds
from edge.terms.places import CAPABILITIES, Provider

each = pytest.mark.parametrize("known", KNOWN.values(), ids=list(KNOWN))
started = pytest.mark.parametrize("known", IN_ENVIRONMENT.values(), ids=list(IN_ENVIRONMENT))


def keys(*variables: str, **others: str) -> dict[str, str]:
    """Return an environment in which these variables have a key."""
    return dict.fromkeys(variables, "sk-x") | others


def test_the_order_is_the_order_of_the_variables() -> None:
    """A start without a file prefers providers in the documented order of their variables."""
    assert list(IN_ENVIRONMENT) == ["openai", "anthropic", "deepseek", "gemini"]
    assert list(KNOWN)[:4] == list(IN_ENVIRONMENT)


@each
def test_a_provider_is_called_over_tls_at_a_public_name(known: Provider) -> None:
    """Each base URL is https, to a host that is neither private nor forbidden; without one it runs anywhere."""
    if not known.base_url:
        assert not known.needs_key or known.credential is not None  # or has a URL of each customer's
        assert known.jurisdiction is None
        return
    assert known.jurisdiction
    url = addresses.parse_base_url(known.base_url)
    assert url.tls
    assert url.port == 443
    assert not addresses.is_private(url.host)
    assert addresses.forbidden(url.host) == ""
    assert not known.base_url.endswith("/")


@started
def test_a_provider_has_what_a_start_without_a_file_needs(known: Provider) -> None:
    """A small chat model, the variables of its key and URL, and an embedding model if it has embeddings."""
    assert known.chat_model
    assert known.key_variables
    assert known.url_variable.endswith("_BASE_URL")
    assert bool(known.embed_model) == ("embeddings" in known.capabilities)
    assert known.probe in ("", "/models")


@each
def test_capabilities_and_hints_are_in_the_known_words(known: Provider) -> None:
    """All capabilities and the statuses of all hints are known."""
    assert set(known.capabilities) <= set(CAPABILITIES)
    for hint in known.hints:
        assert 400 <= hint.status < STATUSES
        assert {hint.action, hint.wildcard} <= set(ACTIONS)


@started
def test_no_default_model_is_retired(known: Provider) -> None:
    """No default model is one that edge lists as retired."""
    assert {known.chat_model, known.embed_model}.isdisjoint(dict(known.retired))
    assert set(dict(known.retired).values()).isdisjoint(dict(known.retired))


@started
def test_one_key_makes_a_configuration_that_passes(known: Provider) -> None:
    """With the key of any provider, edge starts without a file and without a warning."""
    config = from_environment(keys(known.key_variables[0]), IN_ENVIRONMENT)
    assert config is not None
    assert [target.target for target in config.models["chat"].targets] == [f"{known.name}/{known.chat_model}"]
    assert check(Document(config), KNOWN) == []


def test_all_keys_make_tiers_in_order() -> None:
    """``chat`` has one tier per provider; ``embed`` has one target, as vectors of two models do not compare."""
    variables = [known.key_variables[0] for known in IN_ENVIRONMENT.values()]
    config = from_environment(keys(*variables), IN_ENVIRONMENT)
    assert config is not None
    tiers = [(target.target.partition("/")[0], target.tier) for target in config.models["chat"].targets]
    assert tiers == [("openai", 1), ("anthropic", 2), ("deepseek", 3), ("gemini", 4)]
    assert [target.target for target in config.models["embed"].targets] == ["openai/text-embedding-3-small"]


def test_embed_is_absent_where_nobody_embeds() -> None:
    """Without a provider of embeddings there is no ``embed``."""
    config = from_environment(keys("ANTHROPIC_API_KEY", "DEEPSEEK_API_KEY"), IN_ENVIRONMENT)
    assert config is not None
    assert list(config.models) == ["chat"]


def test_either_of_gemini_s_variables_will_do() -> None:
    """GEMINI_API_KEY wins over GOOGLE_API_KEY, and each is enough."""
    for environ, key in (
        ({"GOOGLE_API_KEY": "g"}, "g"),
        ({"GOOGLE_API_KEY": "g", "GEMINI_API_KEY": "own"}, "own"),
        ({"GOOGLE_API_KEY": "g", "GEMINI_API_KEY": ""}, "g"),
    ):
        config = from_environment(environ, IN_ENVIRONMENT)
        assert config is not None
        assert config.providers["gemini"].api_key == key


def test_no_key_makes_no_configuration() -> None:
    """Without a key, or with empty variables and base URLs only, there is no configuration."""
    assert from_environment({}, IN_ENVIRONMENT) is None
    assert from_environment({"OPENAI_API_KEY": "", "OPENAI_BASE_URL": "http://localhost:1/v1"}, IN_ENVIRONMENT) is None


def test_a_base_url_moves_its_provider() -> None:
    """OPENAI_BASE_URL is used with the key, so that a compatible server can be tried without a file."""
    config = from_environment(keys("OPENAI_API_KEY", OPENAI_BASE_URL="http://localhost:11434/v1"), IN_ENVIRONMENT)
    assert config is not None
    assert config.providers["openai"].base_url == "http://localhost:11434/v1"
    assert check(Document(config), KNOWN) == []


def test_a_base_url_that_is_edge_itself_names_the_variable() -> None:
    """If OPENAI_BASE_URL points to edge itself, the message says to unset it."""
    config = from_environment(keys("OPENAI_API_KEY", OPENAI_BASE_URL="http://127.0.0.1:8080/v1"), IN_ENVIRONMENT)
    assert config is not None
    (problem,) = check(Document(config), KNOWN)
    assert "this edge itself" in problem.sentence
    assert "unset OPENAI_BASE_URL" in problem.sentence


def test_an_empty_configuration_has_nothing_to_route() -> None:
    """A configuration without routes is refused, whatever its source."""
    (problem,) = check(Document(Config()), KNOWN)
    assert "nothing to route" in problem.sentence


@started
def test_prices_are_dated_and_cover_what_edge_itself_names(known: Provider) -> None:
    """Every model that edge proposes has a plausible price with the date of its look-up."""
    assert re.fullmatch(r"20\d\d-[01]\d-[0-3]\d", known.priced)
    named = {known.chat_model, known.embed_model, *(successor for _, successor in known.retired)} - {""}
    assert named <= set(known.prices)
    written = {model for model, price in known.prices.items() if price[1] and "image" not in model}
    assert written == set(known.max_outputs) == set(known.windows)
    assert all(known.max_outputs[model] < window for model, window in known.windows.items())
    for prompt, answer, *cached in known.prices.values():
        assert 0 < prompt <= 200
        assert all(0 < price <= prompt for price in cached)
        assert 0 <= answer <= 1000
        assert answer == 0 or answer >= prompt
    assert all(known.prices[model][0] < price <= 200 for model, price in known.spoken.items())


@each
def test_what_is_known_of_models_is_plausible_and_dated(known: Provider) -> None:
    """Prices have a date in the past; a window holds the longest answer; a cached prompt is not dearer than one."""
    assert not known.prices or re.fullmatch(r"20\d\d-[01]\d-[0-3]\d", known.priced)
    assert set(known.max_outputs) == set(known.windows)
    for model, window in known.windows.items():
        assert 1_000 <= known.max_outputs[model] <= window <= 10_000_000, model
    for model, (prompt, answer, *cached) in known.prices.items():
        assert 0 < prompt <= 200, model
        assert answer == 0 or prompt <= answer <= 1000, model
        assert all(0 < price <= prompt for price in cached), model


LOOKED_UP = ("mistral", "groq", "together", "fireworks", "xai", "moonshot", "qwen", "cohere", "openrouter")


@pytest.mark.parametrize("name", LOOKED_UP)
def test_well_known_models_of_a_provider_have_prices_and_windows(name: str) -> None:
    """A budget and a long prompt need no look-up of one's own; the file says where and when the facts were found."""
    known = KNOWN[name]
    both = set(known.prices) & set(known.windows)
    assert len(both) >= 5
    text = importlib.import_module(f"edge.providers.{name}").__doc__ or ""
    assert f"as of {known.priced}" in " ".join(text.split())


FACTS = (
    "base_url",
    "jurisdiction",
    "capabilities",
    "windows",
    "prices",
    "probe",
    "limit_fields",
    "hints",
    "status_page",
)


@each
def test_what_is_not_known_of_a_provider_has_its_reason(known: Provider) -> None:
    """Each fact of the catalogue is there, or a sentence says why it is not; none says so of a fact that is there."""
    assert set(known.lacks) <= set(FACTS)
    for fact in FACTS:
        assert bool(getattr(known, fact)) != bool(known.lacks.get(fact)), fact
    assert known.dialect in {"openai", "responses", "anthropic", "gemini"}
    assert known.needs_key or not known.base_url
    assert bool(known.priced) == bool(known.prices)


@each
def test_fields_that_tell_limits_say_how_long_to_wait(known: Provider) -> None:
    """In a refusal, each field in which a provider tells its limits is understood where nothing remains."""
    for front in known.limit_fields:
        then = b"2026-01-01T00:00:09Z" if front.startswith("anthropic") else b"9"
        said = [(b"date", b"Thu, 01 Jan 2026 00:00:00 GMT")]
        for name in (b"requests-reset",) if front.startswith("anthropic") else (b"reset",):
            said += [(front.encode() + name, then), (front.encode() + name.replace(b"reset", b"remaining"), b"0")]
        assert retry_after_seconds(said) == pytest.approx(9)


def test_the_catalogue_has_every_provider_that_was_asked_for() -> None:
    """The names under which a configuration finds facts."""
    names = (
        "deepseek openai azure-openai anthropic gemini vertex mistral groq openrouter together fireworks xai moonshot "
        "zhipu qwen cohere vllm sglang ollama llama.cpp bedrock bedrock-anthropic"
    )
    assert set(KNOWN) == set(names.split())


@pytest.mark.parametrize("limit", [b"x-ratelimit-%s", b"x-tokenlimit-%s", b"ratelimitbysize-%s"])
def test_a_reset_counts_by_any_name_where_nothing_remains(limit: bytes) -> None:
    """Together's and Mistral's fields are read as others: a reset counts if its limit is used up."""
    reset = (limit % b"reset", b"28")
    assert retry_after_seconds([reset, (limit % b"remaining", b"0")]) == pytest.approx(28)
    assert retry_after_seconds([reset, (limit % b"remaining", b"3")]) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(b"6m0s", 360.0), (b"12ms", 0.012), (b"1h2m0.5s", 3720.5), (b"7", 7.0), (b"soon", None), (b"1" * 64_000, None)],
)
def test_how_long_an_answer_asks_to_stay_away(value: bytes, seconds: float | None) -> None:
    """A reset is read in every form that providers use, and an invalid one is ignored."""
    fields = [(b"x-ratelimit-reset-requests", value), (b"x-ratelimit-remaining-requests", b"0")]
    took_s = []
    for _ in range(3):
        began = time.monotonic()
        assert retry_after_seconds(fields) == (None if seconds is None else pytest.approx(seconds))
        took_s.append(time.monotonic() - began)
    assert statistics.median(took_s) < 2.0  # it was a hundred seconds
