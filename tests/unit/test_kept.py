"""The ids of what providers keep are found in requests, answers and lists."""

from __future__ import annotations

import json

import pytest

from edge.dialects import kept


def test_ids_that_a_request_names_are_found_wherever_they_stand() -> None:
    """Ids stand at the top or deep inside, as texts, lists or objects, each counted once, in order."""
    body = {
        "previous_response_id": "resp_1",
        "conversation": {"id": "conv_1"},
        "tools": [{"type": "file_search", "vector_store_ids": ["vs_1", "vs_2"]}],
        "input": [{"content": [{"type": "input_file", "file_id": "file-1"}] * 2}],
        "metadata": {"id": "not-one"},
    }
    assert kept.named(json.dumps(body).encode()) == [b"vs_1", b"vs_2", b"file-1", b"resp_1", b"conv_1"]


def test_a_member_that_comes_twice_counts_twice() -> None:
    """Readers differ in which of two members they take, so both are checked."""
    assert kept.named(b'{"input_file_id": "file-1", "input_file_id": "file-2"}') == [b"file-1", b"file-2"]


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 5000])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    """Text that is no JSON, or is nested without end, raises ValueError."""
    with pytest.raises(ValueError, match=r"."):
        kept.named(body)


def test_too_many_ids_are_refused() -> None:
    """A request that names more ids than are looked up is refused, because another key's could be among the rest."""
    body = {"file_ids": [f"file-{number}" for number in range(257)]}
    with pytest.raises(ValueError, match="names 257 ids, and at most 256"):
        kept.named(json.dumps(body).encode())


def test_an_answer_gives_out_its_own_id_and_those_of_its_results() -> None:
    """A batch names its output, a job its results, an upload its file."""
    answer = {"id": "batch_1", "output_file_id": "file-2", "error_file_id": None, "input_file_id": "file-1"}
    assert kept.issued(json.dumps(answer).encode()) == [b"batch_1", b"file-2"]
    assert kept.issued(b'{"id": "ftjob-1", "result_files": ["file-3"]}') == [b"ftjob-1", b"file-3"]
    assert kept.issued(b'{"id": "upload_1", "file": {"id": "file-4"}}') == [b"upload_1", b"file-4"]
    assert kept.issued(b"[]") == []


def test_a_list_is_returned_without_what_is_of_others() -> None:
    """Objects with other keys' ids are left out, and the ends of the page are those of the rest."""
    page = {"data": [{"id": "a"}, {"id": "b"}, {"id": "c"}], "first_id": "a", "last_id": "c", "has_more": False}
    content = json.dumps(page).encode()
    assert kept.listed(content) == [b"a", b"b", b"c"]
    left = {"data": [{"id": "b"}], "first_id": "b", "last_id": "b", "has_more": False}
    assert json.loads(kept.without(content, [b"a", b"c"])) == left
    assert json.loads(kept.without(content, [b"a", b"b", b"c"]))["first_id"] is None


def test_lists_in_lists_are_read_however_deep() -> None:
    """What a provider nests within what the JSON reader takes costs no exception in the data path."""
    deep = b"[" * 700 + b'"file-1", {"id": "file-2"}' + b"]" * 700
    assert kept.issued(b'{"id": ' + deep + b"}") == [b"file-1", b"file-2"]
    assert kept.listed(b'{"data": ' + deep + b"}") == [b"file-1", b"file-2"]


def test_files_of_gemini_are_named_by_name_and_by_link() -> None:
    """A link names the file that it ends with, also with escapes and a query; another URL names none."""
    root = "https://generativelanguage.googleapis.com/v1beta/files/"
    links = [root + "a", root + "b%2D1?alt=media", "files/c", "https://a.example/picture.png"]
    parts = [{"fileData": {"fileUri": link}} for link in links] + [{"file_data": {"file_uri": root + "d"}}]
    body = json.dumps({"contents": [{"parts": parts}]}).encode()
    assert kept.named(body) == [b"files/a", b"files/b-1", b"files/c", b"files/d"]
    assert kept.issued(b'{"file": {"name": "files/a", "uri": "x"}}') == [b"files/a"]
    assert kept.issued(b'{"name": "files/a"}') == [b"files/a"]
    page = b'{"files": [{"name": "files/a"}, {"name": "files/b"}], "nextPageToken": "n"}'
    assert kept.listed(page) == [b"files/a", b"files/b"]
    assert json.loads(kept.without(page, [b"files/a"])) == {"files": [{"name": "files/b"}], "nextPageToken": "n"}


def test_links_to_results_lead_to_edge() -> None:
    """The results of a batch are fetched with the caller's key, so from edge; whatever the provider's URL was."""
    link = "https://api.anthropic.com/v1/messages/batches/msgbatch_1/results"
    batch = {"id": "msgbatch_1", "results_url": link}
    here = "https://edge.example:8443/v1/messages/batches/msgbatch_1/results"
    led = json.loads(kept.led_here(json.dumps(batch).encode(), b"https://edge.example:8443"))
    assert led["results_url"] == here
    page = {"data": [batch, {"id": "msgbatch_2", "results_url": None}], "has_more": False}
    led = json.loads(kept.led_here(json.dumps(page).encode(), b"https://edge.example:8443"))
    assert [item["results_url"] for item in led["data"]] == [here, None]
    odd = json.dumps({"id": "msgbatch_1", "results_url": "https://elsewhere.example/x"}).encode()
    assert json.loads(kept.led_here(odd, b"https://edge.example:8443"))["results_url"] == here
