"""The table of outcomes is complete, agrees with the documents, and cannot be abused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge.balance import outcomes
from edge.balance.outcomes import MODEL, ROWS, SERVICE, STATUSES, TABLES, WILDCARD
from edge.providers import KNOWN
from edge.providers.wordings import WORDINGS
from edge.terms.actions import (
    ACTION_CLIENT,
    ACTION_FAIL,
    ACTION_MISCONFIGURED,
    ACTION_QUARANTINE,
    ACTION_RATE_LIMITED,
    ACTION_RELAY,
    ACTION_UNCLEAR,
)

if TYPE_CHECKING:
    from edge.terms.places import Hint

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "outcomes.md").read_text(encoding="utf-8")
HINTS = [pytest.param(hint, id=f"{name}-{hint.status}") for name, known in KNOWN.items() for hint in known.hints]


def test_rows_cover_each_status_once_and_in_order() -> None:
    """Each status has exactly one meaning."""
    covered = [status for row in ROWS for status in range(row.first, row.last + 1)]
    assert covered == list(range(STATUSES))


def test_a_table_holds_one_known_code_per_status() -> None:
    """The data path can index a table by any status below 600."""
    for table in TABLES.values():
        assert len(table) == STATUSES
        assert set(table) <= set(outcomes.ACTIONS)


@pytest.mark.parametrize(
    ("status", "model", "wildcard", "service"),
    [
        (200, ACTION_RELAY, ACTION_RELAY, ACTION_RELAY),
        (206, ACTION_RELAY, ACTION_RELAY, ACTION_RELAY),
        (302, ACTION_MISCONFIGURED, ACTION_MISCONFIGURED, ACTION_RELAY),
        (400, ACTION_CLIENT, ACTION_CLIENT, ACTION_CLIENT),
        (401, ACTION_QUARANTINE, ACTION_QUARANTINE, ACTION_CLIENT),
        (402, ACTION_UNCLEAR, ACTION_UNCLEAR, ACTION_CLIENT),
        (403, ACTION_UNCLEAR, ACTION_CLIENT, ACTION_CLIENT),
        (404, ACTION_UNCLEAR, ACTION_CLIENT, ACTION_CLIENT),
        (405, ACTION_UNCLEAR, ACTION_CLIENT, ACTION_CLIENT),
        (410, ACTION_UNCLEAR, ACTION_CLIENT, ACTION_CLIENT),
        (408, ACTION_FAIL, ACTION_FAIL, ACTION_CLIENT),
        (409, ACTION_CLIENT, ACTION_CLIENT, ACTION_CLIENT),
        (413, ACTION_CLIENT, ACTION_CLIENT, ACTION_CLIENT),
        (422, ACTION_CLIENT, ACTION_CLIENT, ACTION_CLIENT),
        (425, ACTION_FAIL, ACTION_FAIL, ACTION_CLIENT),
        (429, ACTION_RATE_LIMITED, ACTION_RATE_LIMITED, ACTION_CLIENT),
        (451, ACTION_CLIENT, ACTION_CLIENT, ACTION_CLIENT),
        (500, ACTION_FAIL, ACTION_FAIL, ACTION_FAIL),
        (501, ACTION_CLIENT, ACTION_CLIENT, ACTION_CLIENT),
        (502, ACTION_FAIL, ACTION_FAIL, ACTION_FAIL),
        (503, ACTION_FAIL, ACTION_FAIL, ACTION_FAIL),
        (504, ACTION_FAIL, ACTION_FAIL, ACTION_FAIL),
        (505, ACTION_CLIENT, ACTION_CLIENT, ACTION_CLIENT),
        (529, ACTION_FAIL, ACTION_FAIL, ACTION_FAIL),
        (599, ACTION_FAIL, ACTION_FAIL, ACTION_FAIL),
    ],
)
def test_statuses_that_were_decided_by_name(status: int, model: int, wildcard: int, service: int) -> None:
    """The table has the decisions of the design for these statuses."""
    assert (TABLES[MODEL][status], TABLES[WILDCARD][status], TABLES[SERVICE][status]) == (model, wildcard, service)


def test_only_credential_statuses_bench_a_provider_whose_model_the_caller_chose() -> None:
    """A caller's choice of a model cannot quarantine a provider's wildcard target."""
    about_the_model = {403, 404, 405, 410, 422}
    assert {TABLES[WILDCARD][status] for status in about_the_model} == {ACTION_CLIENT}
    benched = {
        status for status in range(400, 500) if TABLES[WILDCARD][status] in (ACTION_QUARANTINE, ACTION_MISCONFIGURED)
    }
    assert benched == {401, 407, 426}


def test_no_client_error_of_a_service_is_held_against_it() -> None:
    """Of a service's 4xx only 421 counts against the service."""
    assert {status for status in range(400, 500) if TABLES[SERVICE][status] != ACTION_CLIENT} == {421}


@pytest.mark.parametrize("hint", HINTS)
@pytest.mark.parametrize(("before", "after"), [("", ""), ('"', '"'), ('{"message": "', '"}'), (":", ""), (': "', "")])
def test_a_caller_cannot_have_a_hint_echoed(hint: Hint, before: str, after: str) -> None:
    """A provider that echoes the caller's text in a JSON string escapes its quotes, so the needle does not match."""
    echoed = json.dumps({"error": {"message": before + hint.needle.decode() + after}}, ensure_ascii=False)
    assert hint.needle not in echoed.encode().replace(b'"error": {"message": "', b'"error":{"message":"')


@pytest.mark.parametrize("hint", HINTS)
def test_a_hint_says_something_that_its_status_does_not(hint: Hint) -> None:
    """Every hint differs from the table in at least one variant."""
    assert (hint.action, hint.wildcard) != (TABLES[MODEL][hint.status], TABLES[WILDCARD][hint.status])


@pytest.mark.parametrize(
    ("provider", "status", "body", "action"),
    [
        (
            "openai",
            429,
            (
                b'{"error":{"message":"You exceeded your current quota","type":"insufficient_quota",'
                b'"param":null,"code":"insufficient_quota"}}'
            ),
            ACTION_QUARANTINE,
        ),
        (
            "anthropic",
            400,
            (
                b'{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to '
                b'access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits."}}'
            ),
            ACTION_QUARANTINE,
        ),
        (
            "deepseek",
            400,
            (
                b'{"error":{"message":"Model Not Exist","type":"invalid_request_error","param":null,'
                b'"code":"invalid_request_error"}}'
            ),
            ACTION_MISCONFIGURED,
        ),
        (
            "gemini",
            400,
            (
                b'[{"error": {"code": 400, "message": "User location is not supported for the API use.", '
                b'"status": "FAILED_PRECONDITION"}}]'
            ),
            ACTION_QUARANTINE,
        ),
        (
            "gemini",
            400,
            (
                b'{"error": {"code": 400, "message": "API key not valid. Please pass a valid API key.",'
                b'"status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]}}'
            ),
            ACTION_QUARANTINE,
        ),
    ],
)
def test_hints_recognise_bodies_seen_in_the_wild(provider: str, status: int, body: bytes, action: int) -> None:
    """The bodies that users have reported (see each provider's file) get the right action."""
    meant = [hint.action for hint in KNOWN[provider].hints if hint.status == status and hint.needle in body]
    assert meant[:1] == [action]


def test_a_wording_that_benches_by_itself_cannot_be_echoed() -> None:
    """What takes a target from everybody at once holds a quotation mark, which a JSON string would escape."""
    benching = (ACTION_QUARANTINE, ACTION_MISCONFIGURED)
    alone = [wording for wording in WORDINGS if {wording.action, wording.wildcard} & set(benching)]
    assert alone
    assert [wording for wording in alone if b'"' not in wording.words[0]] == []


def test_wordings_are_in_lower_case() -> None:
    """The data path compares them with a body in lower case."""
    assert [wording for wording in WORDINGS if any(word != word.lower() or not word for word in wording.words)] == []
    assert {wording.action for wording in WORDINGS} <= set(outcomes.ACTIONS)


def test_document_names_every_outcome_of_the_data_path() -> None:
    """The table of faults in docs/outcomes.md has the outcomes of the data path, in their order."""
    declared = (ROOT / "native" / "state" / "counters.pxd").read_text(encoding="utf-8")
    enum = re.search(r"cpdef enum Outcome:\n((?:    .*\n)+)", declared)
    assert enum
    names = re.findall(r"^    ([A-Z_]+) =", enum[1], re.MULTILINE)
    documented = re.findall(r"^\| `([A-Z_]+)` \|", DOCUMENT, re.MULTILINE)
    assert documented == names


def test_document_explains_every_action() -> None:
    """Each action of the table is explained at the beginning of the document."""
    explained = re.findall(r"^\| ([^|`]+) \|", DOCUMENT.partition("\n## ")[0], re.MULTILINE)
    assert [name.strip() for name in explained if name not in ("action", "---")] == list(outcomes.ACTIONS.values())
