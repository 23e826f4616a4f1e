"""What a provider keeps is asked of the provider that issued its id, as the official OpenAI SDK asks for it."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest
from callers import clear, keys
from stored import Kept, open_kept

from edge.native import Outcome
from edge.sim.faults import Fault

WIRES = pytest.mark.parametrize("wire", ["http1", "http2"])
NAMES = pytest.mark.parametrize("name", ["one", "two"])
SAID: Any = [{"role": "user", "content": "hello"}]
MISSING = Fault(kind="error", status=503)


def asked(place: Kept) -> dict[str, int]:
    """Return how many requests each provider got, and forget them."""
    counts = {"one": place.one.stats()["requests"], "two": place.two.stats()["requests"]}
    for provider in (place.one, place.two):
        provider._counts.clear()  # as DELETE /_sim/stats does
    return counts


def only(name: str, count: int) -> dict[str, int]:
    """Return the counts where one provider alone was asked."""
    return {"one": 0, "two": 0, name: count}


async def a_file(client: openai.AsyncOpenAI, purpose: Any = "batch") -> Any:
    """Upload a small file."""
    return await client.files.create(file=("in.jsonl", b'{"custom_id": "1"}\n'), purpose=purpose)


@WIRES
@NAMES
async def test_a_response_is_asked_for_where_it_was_made(wire: str, name: str) -> None:
    """Retrieve, input items, cancel, continuation and delete reach the provider that made the response."""
    async with open_kept(wire) as place:
        client = place.client()
        model = {"one": "m", "two": "m2"}[name]
        made = await client.responses.create(model=model, input="first")
        events = [event async for event in await client.responses.create(model=model, input="again", stream=True)]
        streamed = events[0].response.id  # type: ignore[union-attr]
        assert asked(place) == only(name, 2)
        assert (await client.responses.retrieve(made.id)).output_text == made.output_text
        assert (await client.responses.retrieve(streamed)).id == streamed
        items = await client.responses.input_items.list(made.id)
        assert [item.content for item in items.data] == ["first"]  # type: ignore[union-attr]
        assert (await client.responses.cancel(made.id)).status == "cancelled"
        more = await client.responses.create(model="m", input="more", previous_response_id=made.id)
        assert asked(place) == only(name, 5)
        await client.responses.delete(made.id)
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(made.id)
        assert asked(place) == only(name, 2)
        assert more.id.startswith(f"resp_{name}-")


@WIRES
@NAMES
async def test_files_and_batches_stay_with_their_provider(wire: str, name: str) -> None:
    """A file, the batch over it, and the file of its results are all asked of the provider that has the file."""
    async with open_kept(wire) as place:
        file = await a_file(place.client(x_edge_provider=name))
        client = place.client()
        batch = await client.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
        )
        done = await client.batches.retrieve(batch.id)
        assert (done.status, done.output_file_id is not None) == ("completed", True)
        results = await client.files.content(done.output_file_id or "")
        assert results.content == b'{"custom_id": "1"}\n'
        assert (await client.files.retrieve(file.id)).filename == "in.jsonl"
        assert (await client.batches.cancel(batch.id)).status == "cancelled"
        assert (await client.files.delete(file.id)).deleted
        assert asked(place) == only(name, 7)


@WIRES
@NAMES
async def test_jobs_and_vector_stores_stay_with_their_provider(wire: str, name: str) -> None:
    """Fine-tuning jobs and vector stores go where their files are, and so does a response that searches the store."""
    async with open_kept(wire) as place:
        file = await a_file(place.client(x_edge_provider=name), "fine-tune")
        client = place.client()
        job = await client.fine_tuning.jobs.create(model="sim", training_file=file.id)
        assert (await client.fine_tuning.jobs.retrieve(job.id)).fine_tuned_model == "ft:sim:sim"
        assert (await client.fine_tuning.jobs.list_events(job.id)).data == []
        assert (await client.fine_tuning.jobs.cancel(job.id)).status == "cancelled"
        store = await client.vector_stores.create(file_ids=[file.id])
        await client.vector_stores.files.create(store.id, file_id=file.id)
        assert [one.id for one in (await client.vector_stores.files.list(store.id)).data] == [file.id]
        await client.responses.create(
            model="m", input="look", tools=[{"type": "file_search", "vector_store_ids": [store.id]}]
        )
        assert (await client.vector_stores.delete(store.id)).deleted
        assert asked(place) == only(name, 10)


@WIRES
async def test_a_conversation_holds_its_responses(wire: str) -> None:
    """A conversation is made at one provider, and responses in it are made there, by its id or as an object."""
    async with open_kept(wire) as place:
        conversation = await place.client(x_edge_provider="two").conversations.create()
        client = place.client()
        await client.responses.create(model="m", input="a", conversation=conversation.id)
        await client.responses.create(model="m", input="b", conversation={"id": conversation.id})
        assert (await client.conversations.retrieve(conversation.id)).id == conversation.id
        assert asked(place) == only("two", 4)


@WIRES
async def test_an_unknown_id_is_asked_for_once_at_each_provider(wire: str) -> None:
    """Where nobody remembers an id each provider is asked once; that one has it not is no failure."""
    async with open_kept(wire) as place:
        direct = place.at("two")
        file = await a_file(direct)
        made = await direct.responses.create(model="sim", input="x")
        asked(place)
        client = place.client()
        assert (await client.files.retrieve(file.id)).id == file.id
        first = asked(place)
        assert first in ({"one": 1, "two": 1}, {"one": 0, "two": 1})
        more = await client.responses.create(model="m", input="y", previous_response_id=made.id)
        assert (more.id.startswith("resp_two-"), asked(place)["two"]) == (True, 1)
        with pytest.raises(openai.NotFoundError, match="No such File object: file-nowhere"):
            await client.files.retrieve("file-nowhere")
        assert asked(place) == {"one": 1, "two": 1}
        with pytest.raises(openai.BadRequestError, match="Previous response with id 'resp_no' not found"):
            await client.responses.create(model="m", input="y", previous_response_id="resp_no")
        assert asked(place) == {"one": 1, "two": 1}
        for number in range(12):  # more than would open a circuit
            with pytest.raises(openai.NotFoundError):
                await client.files.delete(f"file-{number}")
        await client.files.retrieve(file.id)
        assert asked(place) == {"one": 12, "two": 13}
        for target in ("one/*", "two/*", "one/sim", "two/sim"):
            outcomes = place.plane.outcomes(target)
            assert sum(outcomes) == outcomes[Outcome.OK] + outcomes[Outcome.CLIENT_FAULT]
        await direct.close()


async def test_the_order_of_a_search_depends_on_the_id() -> None:
    """Different ids begin at different providers, and the same id always at the same."""
    async with open_kept() as place:
        client = place.client()
        firsts = []
        for number in [*range(16), *range(16)]:
            with pytest.raises(openai.NotFoundError):
                await client.files.retrieve(f"file-{number}")
            firsts.append((await place.plane.recorded(len(firsts) + 1))[-1].attempts[0].target)
        assert set(firsts) == {"one/*", "two/*"}
        assert firsts[:16] == firsts[16:]


@WIRES
async def test_a_provider_that_is_down_is_named_and_nobody_else_is_asked(wire: str) -> None:
    """If the issuer cannot answer, the error names it; no other provider is asked, and a create is sent once."""
    async with open_kept(wire) as place:
        client = place.client()
        file = await a_file(client)
        made = await client.responses.create(model="m", input="x")
        await place.one.switch(MISSING)
        asked(place)
        with pytest.raises(openai.InternalServerError):
            await a_file(client)
        with pytest.raises(openai.InternalServerError):
            await client.vector_stores.create(file_ids=[file.id])
        assert asked(place) == only("one", 2)
        for call in (
            client.files.retrieve(file.id),
            client.responses.retrieve(made.id),
            client.responses.create(model="m", input="y", previous_response_id=made.id),
        ):
            with pytest.raises(openai.InternalServerError, match="one/") as failure:
                await call
            assert failure.value.status_code == 503
            assert "two/" not in failure.value.message
        assert asked(place)["two"] == 0


async def test_an_id_that_a_silent_provider_may_have_is_not_called_missing() -> None:
    """If one provider has it not and the other cannot say, the answer is 503 with its name, not 404."""
    async with open_kept() as place:
        await place.two.switch(MISSING)
        with pytest.raises(openai.InternalServerError, match=r"two/\*"):
            await place.client().files.retrieve("file-somewhere")
        assert asked(place) == {"one": 1, "two": 1}


async def test_a_provider_without_the_capability_is_not_asked() -> None:
    """What a provider keeps stands in its capabilities; without any that may, the refusal says so of each."""
    async with open_kept(one="capabilities: [chat, files]", two="capabilities: [chat, batches]") as place:
        client = place.client()
        await a_file(client)
        with pytest.raises(openai.NotFoundError):
            await client.batches.retrieve("batch_1")
        assert asked(place) == {"one": 1, "two": 1}
        with pytest.raises(openai.BadRequestError) as refused:
            await client.vector_stores.create()
        assert refused.value.code == "not_offered"
        assert "one/*: its capabilities do not name vector_stores" in refused.value.message


@pytest.mark.parametrize(
    ("path", "status"),
    [("/v1/files/../models", 400), ("/v1/files/a%2fb", 400), ("/v1/files//x", 400), ("/v1/files/" + "x" * 300, 400)],
)
async def test_a_path_that_could_lead_elsewhere_is_refused(path: str, status: int) -> None:
    """Segments are ids and words; no other path is asked of a provider with edge's key."""
    async with open_kept() as place:
        answer = await place.plane.raw(f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode())
        assert int(answer.received.split(b" ", 2)[1]) == status
        assert asked(place) == {"one": 0, "two": 0}


async def test_ids_of_two_providers_are_not_mixed() -> None:
    """A request that names what two providers keep is refused, as is one whose model has no target of the issuer."""
    async with open_kept() as place:
        client = place.client()
        one, two = await a_file(client), await a_file(place.client(x_edge_provider="two"))
        with pytest.raises(openai.BadRequestError) as refused:
            await client.vector_stores.create(file_ids=[one.id, two.id])
        assert refused.value.code == "issuers_differ"
        made = await client.responses.create(model="m", input="x")
        with pytest.raises(openai.BadRequestError) as refused:
            await client.responses.create(model="m2", input="y", previous_response_id=made.id)
        assert refused.value.code == "issuer_elsewhere"
        with pytest.raises(openai.NotFoundError) as missing:
            await a_file(place.client(x_edge_provider="three"))
        assert missing.value.code == "unknown_provider"


@WIRES
async def test_a_large_upload_is_streamed_and_not_held(wire: str) -> None:
    """A file larger than everything that edge may hold reaches the provider whole."""
    async with open_kept(wire, "limits: {body: 64KiB, max_buffered: 256KiB}\n") as place:
        content = b"x" * (4 << 20)
        file = await place.client().files.create(file=("big.bin", content), purpose="user_data")
        assert (file.bytes, asked(place)) == (len(content), only("one", 1))
        downloaded = await place.client().files.content(file.id)
        assert downloaded.content == content


async def test_paths_are_understood_without_v1_with_a_slash_and_as_azure_writes_them() -> None:
    """A base URL without /v1, or Azure's /openai, leads to the same endpoints."""
    async with open_kept() as place:
        file = await a_file(place.client(f"{place.plane.url}"))
        for base in (
            place.plane.url,
            f"{place.plane.url}/v1",
            f"{place.plane.url}/openai/v1",
            f"{place.plane.url}/openai",
        ):
            assert (await place.client(base).files.retrieve(file.id)).id == file.id
            client = place.client(base)
            assert (await client.models.retrieve("m")).id == "m"
            assert (await client.chat.completions.create(model="m", messages=SAID)).choices
            assert (await client.get(f"/files/{file.id}/", cast_to=object)) is not None  # type: ignore[call-overload]


PRICES = "prices: {'*': {input: 1, output: 1}}"
KEYS = keys(a="", b="", c="models: [m]", d="models: ['one/*']", e="budget: 5")


@WIRES
async def test_what_is_kept_for_one_key_is_not_there_for_another(wire: str) -> None:
    """Another key's response, file and batch are not found, not listed, and cannot be used; its own are."""
    async with open_kept(wire, KEYS, one=PRICES, two=PRICES) as place:
        one, other = place.client(key=clear("a")), place.client(key=clear("b"))
        file = await a_file(one)
        made = await one.responses.create(model="m", input="x")
        mine = await a_file(other)
        asked(place)
        for call in (
            other.files.retrieve(file.id),
            other.files.delete(file.id),
            other.files.content(file.id),
            other.responses.retrieve(made.id),
            other.batches.create(input_file_id=file.id, endpoint="/v1/embeddings", completion_window="24h"),
            other.responses.create(model="m", input="y", previous_response_id=made.id),
            other.responses.create(
                model="m",
                input=[{"role": "user", "content": [{"type": "input_file", "file_id": file.id}]}],
            ),
        ):
            with pytest.raises(openai.NotFoundError) as missing:
                await call
            assert (missing.value.code, missing.value.message.count("was found")) == ("not_found", 1)
        assert asked(place) == {"one": 0, "two": 0}
        assert [found.id for found in (await other.files.list()).data] == [mine.id]
        assert [found.id for found in (await one.files.list()).data] == [file.id]
        twice = b'{"input_file_id":"%b","input_file_id":"%b","endpoint":"/v1/x"}' % (mine.id.encode(), file.id.encode())
        with pytest.raises(openai.NotFoundError):
            await other.post("/batches", content=twice, cast_to=object)


@WIRES
@pytest.mark.parametrize(
    "hidden",
    [
        '"previous_response_id":"resp\\u005f{response}"',
        '"previous\\u005fresponse_id":"resp_{response}"',
        '"previous_response_id":"{own}","previous_response_id":"resp_{response}"',
        '"conversation":{{"id":"resp\\u005F{response}"}}',
        '"conversation":{{"id":"resp_{response}","id":"{own}"}}',
        '"tools":[{{"type":"file_search","vector\\u005fstore_ids":["{file}"]}}]',
        '"metadata":{{"file\\u005fid":"{file}"}}',
    ],
)
async def test_an_id_cannot_be_hidden_by_the_way_it_is_written(wire: str, hidden: str) -> None:
    """Escapes and members that come twice name another key's response or file as a plain one does: nobody is asked."""
    async with open_kept(wire, KEYS, one=PRICES, two=PRICES) as place:
        one, other = place.client(key=clear("a")), place.client(key=clear("b"))
        file, made = await a_file(one), await one.responses.create(model="m", input="x")
        own = await other.responses.create(model="m", input="x")
        assert made.id.startswith("resp_")
        asked(place)
        written = hidden.format(response=made.id.removeprefix("resp_"), file=file.id, own=own.id)
        with pytest.raises((openai.NotFoundError, openai.BadRequestError)):
            await other.post("/responses", content=f'{{"model":"m","input":"y",{written}}}'.encode(), cast_to=object)
        assert asked(place) == {"one": 0, "two": 0}


@pytest.mark.parametrize("path", ["/batches", "/vector_stores", "/fine_tuning/jobs", "/conversations"])
async def test_no_form_hides_an_id_where_none_is_expected(path: str) -> None:
    """Only uploads are forms, which are relayed unread; what names ids elsewhere has to be JSON, which is read."""
    async with open_kept(more=KEYS, one=PRICES, two=PRICES) as place:
        one, other = place.client(key=clear("a")), place.client(key=clear("b"))
        file = await a_file(one)
        asked(place)
        form = b'--x\r\ncontent-disposition: form-data; name="input_file_id"\r\n\r\n%b\r\n--x--\r\n' % file.id.encode()
        headers = {"content-type": "multipart/form-data; boundary=x", "x-api-key": clear("b")}
        async with httpx.AsyncClient(base_url=f"{place.plane.url}/v1", headers=headers) as client:
            answer = await client.post(path, content=form)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "malformed_json")
        assert asked(place) == {"one": 0, "two": 0}
        assert (await a_file(other)).id


async def test_an_own_id_lends_no_rights_to_an_unknown_one() -> None:
    """An id that nobody remembers is out of a narrow key's reach, whatever of its own the request names beside it."""
    async with open_kept(more=KEYS, one=PRICES, two=PRICES) as place:
        narrow = place.client(key=clear("c"))
        made = await narrow.responses.create(model="m", input="x")
        asked(place)
        with pytest.raises(openai.PermissionDeniedError):
            await narrow.get(f"/files/file-unknown?after={made.id}", cast_to=object)
        with pytest.raises(openai.BadRequestError):  # more digits than a number has
            await narrow.post(
                "/responses",
                content=b'{"model":"m","input":"x","a\\u0061":%b,"file_id":"x"}' % (b"1" * 5000),
                cast_to=object,
            )
        with pytest.raises(openai.BadRequestError):
            await place.client(key=clear("a")).post("/batches", content=b'{"input_file_id":', cast_to=object)
        assert asked(place) == {"one": 0, "two": 0}


async def test_a_key_reaches_what_its_models_permit() -> None:
    """Its own responses are for every key; what needs no model takes provider/*; what has no price, no budget."""
    async with open_kept(more=KEYS, one=PRICES, two=PRICES) as place:
        narrow, wide, poor = (place.client(key=clear(name)) for name in "cde")
        made = await narrow.responses.create(model="m", input="x")
        assert (await narrow.responses.retrieve(made.id)).id == made.id
        with pytest.raises(openai.PermissionDeniedError):
            await a_file(narrow)
        with pytest.raises(openai.PermissionDeniedError):
            await narrow.files.retrieve("file-unknown")
        assert (await a_file(wide)).id
        with pytest.raises(openai.PermissionDeniedError):
            await a_file(place.client(key=clear("d"), x_edge_provider="two"))
        with pytest.raises(openai.PermissionDeniedError) as refused:
            await a_file(poor)
        assert refused.value.code == "model_not_priced"


async def test_an_id_that_a_full_table_forgot_is_asked_for_everywhere() -> None:
    """A table that is full forgets the oldest ids, and what it forgot is found again by asking each provider."""
    async with open_kept(more="limits: {issued_ids: 8}\n") as place:
        client = place.client(x_edge_provider="two")
        made = [await a_file(client) for _ in range(20)]
        known = [file for file in made if place.plane.issued.issuer(file.id, 0) is not None]
        assert 0 < len(known) <= 8
        asked(place)
        for file in made:
            assert (await place.client().files.retrieve(file.id)).id == file.id
        counts = asked(place)
    assert (counts["two"], counts["one"] > 0) == (20, True)


async def test_the_record_names_who_did_not_issue_an_id() -> None:
    """A request with an id names in its record who was not asked for that reason: answered, refused or looked up."""
    async with open_kept() as place:
        client = place.client()
        made = await client.responses.create(model="m", input="first")
        await client.responses.create(model="m", input="more", previous_response_id=made.id)
        with pytest.raises(openai.BadRequestError):
            await client.responses.create(model="m2", input="more", previous_response_id=made.id)
        await client.responses.retrieve(made.id)
        records = await place.plane.recorded(4)
        why = "another provider has issued the id that the request names"
        assert records[0].excluded == ()
        assert [record.excluded for record in records[1:3]] == [(f"two/sim: {why}",)] * 2
        assert [each.partition("/")[0] for each in records[3].excluded] == ["two"]
        assert why in records[3].excluded[0]
