"""Amazon Bedrock in the configuration: a region makes URL, law and signature, and what does not fit has a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge.config import effective
from edge.config.check import check
from edge.config.load import read_text
from edge.control.compose import compile_config
from edge.drills.stage import set_stage
from edge.providers import KNOWN
from edge.providers.bedrock import LAWS
from edge.terms.credentials import ProviderToken, Signing

if TYPE_CHECKING:
    from pathlib import Path

    from edge.terms.snapshot import Snapshot

NOW = 1_800_000_000.0
KEYS = Signing("eu-west-1", "bedrock", "AKIA", "secret-0123456789", "session-0123456789", NOW + 900)


def text(provider: str, target: str = "bedrock/m", require: str = "") -> str:
    """Return a configuration with one provider."""
    return f"providers: {{{provider}}}\nmodels: {{'a*': {{targets: ['{target}']{require}}}}}"


def compiled(written: str) -> Snapshot:
    """Return the Snapshot of a configuration, with keys for what is signed."""
    document = read_text(written, environ={})
    assert [problem for problem in check(document, KNOWN) if problem.severity == "error"] == []
    auths = effective.auths(document.config, KNOWN)
    held = {name: ProviderToken("", NOW, NOW + 900, auth.identity, KEYS) for name, auth in auths.items()}
    return compile_config(document.config, now=NOW, tokens=held)


@pytest.mark.parametrize(
    ("provider", "host", "path", "law"),
    [
        (
            "bedrock: {region: eu-central-1, auth: {type: aws_sigv4}}",
            "bedrock-runtime.eu-central-1.amazonaws.com", "/openai/v1", "eu",
        ),
        (
            "bedrock: {kind: bedrock-anthropic, auth: {type: aws_sigv4, region: eu-west-2}}",
            "bedrock-runtime.eu-west-2.amazonaws.com", "/anthropic/v1", "gb",
        ),
        (
            "bedrock: {region: eusc-de-east-1, auth: {type: aws_sigv4}}",
            "bedrock-runtime.eusc-de-east-1.amazonaws.eu", "/openai/v1", "eu",
        ),
        (
            "bedrock: {base_url: 'https://bedrock-runtime.eusc-de-east-1.amazonaws.eu/v1', auth: {type: aws_sigv4}}",
            "bedrock-runtime.eusc-de-east-1.amazonaws.eu", "/v1", "eu",
        ),
        ("bedrock: {region: us-east-1, api_key: k}", "bedrock-runtime.us-east-1.amazonaws.com", "/openai/v1", "us"),
        ("bedrock: {region: us-east-1, api_key: k, jurisdiction: own}", "bedrock-runtime.us-east-1.amazonaws.com",
         "/openai/v1", "own"),
        (
            "bedrock: {base_url: 'https://vpce-1.bedrock-runtime.ap-south-1.vpce.amazonaws.com/openai/v1', api_key: k}",
            "vpce-1.bedrock-runtime.ap-south-1.vpce.amazonaws.com", "/openai/v1", None,
        ),
        (
            "bedrock: {base_url: 'https://bedrock-runtime.ap-south-1.amazonaws.com/v1', auth: {type: aws_sigv4}}",
            "bedrock-runtime.ap-south-1.amazonaws.com", "/v1", "in",
        ),
    ],
)  # fmt: skip
def test_a_region_makes_url_and_law(provider: str, host: str, path: str, law: str | None) -> None:
    """Whether it is told by the provider, by its auth or by its URL."""
    target = compiled(text(provider)).targets[0]
    assert (target.host, target.base_path, target.jurisdiction) == (host, path, law)
    assert target.probe_path is None


def test_keys_stand_in_the_targets_that_are_signed() -> None:
    """They are no header field; a key of Bedrock is one, as Bearer in both dialects."""
    signed = compiled(text("bedrock: {region: eu-west-1, auth: {type: aws_sigv4}}")).targets[0]
    assert (signed.signing, signed.fields, signed.renewed) == (KEYS, (), "authorization")
    assert "secret" not in repr(signed)
    keyed = compiled(text("bedrock: {kind: bedrock-anthropic, region: eu-west-1, api_key: k}")).targets[0]
    assert (keyed.signing, keyed.fields) == (None, (("authorization", "Bearer k"),))


@pytest.mark.parametrize(
    ("target", "law"),
    [
        ("bedrock/eu.anthropic.claude-sonnet-5-v1:0", "eu"),
        ("bedrock/openai.gpt-oss-20b-1:0", "eu"),
        ("bedrock/global.anthropic.claude-sonnet-5-v1:0", None),
        ("bedrock/apac.amazon.nova-pro-v1:0", None),
        ("bedrock/*", None),
    ],
)
def test_models_of_many_regions_have_no_law(target: str, law: str | None) -> None:
    """A requirement refuses them; the caller of a wildcard could name one."""
    provider = "bedrock: {region: eu-west-1, auth: {type: aws_sigv4}}"
    (found,) = [one for one in compiled(text(provider, target)).targets if one.id == target]
    assert found.jurisdiction == law
    problems = check(read_text(text(provider, target, ", require: {jurisdiction: [eu]}"), environ={}), KNOWN)
    assert any("has no known jurisdiction" in problem.sentence for problem in problems) == (law is None)


@pytest.mark.parametrize(
    ("provider", "said"),
    [
        ("bedrock: {api_key: k}", "write region, such as eu-west-1"),
        ("bedrock: {region: Ireland, api_key: k}", "is not a region of AWS"),
        ("bedrock: {kind: openai, region: eu-west-1, api_key: k}", "only kind bedrock has regions"),
        (
            (
                "bedrock: {base_url: 'https://bedrock-runtime.us-east-1.amazonaws.com/openai/v1', region: eu-west-1, "
                "auth: {type: aws_sigv4}}"
            ),
            "base_url is in us-east-1, which takes no signature for eu-west-1",
        ),
        ("bedrock: {region: eu-west-1, auth: {type: aws_sigv4}, headers: {X-Amz-Date: x}}", "writes this field itself"),
        (
            "bedrock: {region: eu-west-1, auth: {type: aws_sigv4}, capabilities: [chat, files]}",
            "files cannot be signed",
        ),
        ("bedrock: {region: eu-west-1, auth: {type: aws_sigv4}, api_key: k}", "no effect beside auth aws_sigv4"),
    ],
)
def test_what_does_not_fit_has_a_sentence(provider: str, said: str) -> None:
    """It names the place and the remedy."""
    problems = [problem.text() for problem in check(read_text(text(provider), environ={}), KNOWN)]
    assert any(said in problem and "providers.bedrock" in problem for problem in problems), problems


def test_a_drill_asks_what_is_signed(tmp_path: Path) -> None:
    """No keys are fetched for a drill, whose targets are models of providers: they would refuse every attempt."""
    file = tmp_path / "edge.yaml"
    provider = "{bedrock: {region: eu-west-1, auth: {type: aws_sigv4}}}"
    file.write_text(f"providers: {provider}\nmodels: {{chat: {{targets: [bedrock/m]}}}}")
    stage = set_stage(file, environ={}, now=NOW)
    assert [target.signing for target in stage.snapshot.targets] == [None] * len(stage.snapshot.targets)


def test_every_law_is_one_word_and_every_region_a_name() -> None:
    """The table of regions is well formed."""
    assert all(effective.REGION.fullmatch(region) or region.startswith("us-gov-") for region in LAWS)
    assert all(law.islower() and len(law) == 2 for law in LAWS.values())
