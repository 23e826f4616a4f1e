"""Message Batches and files of Anthropic and files of Gemini are asked of their issuer, as the official SDKs ask."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING, Any

import anthropic
import httpx
import pytest
from callers import clear, keys
from google import genai
from google.genai import types
from one_data_plane import one_data_plane

from edge.sim.asked import Pace
from edge.sim.provider import ProviderSpec, SimProvider

pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from one_data_plane import OneDataPlane

NAMES = ("openai", "claude-a", "claude-b", "gemini-a", "gemini-b")
MODELS = """
  claude: {targets: [claude-a/sim, {target: claude-b/sim, tier: 2}]}
  gemini: {targets: [gemini-a/sim, {target: gemini-b/sim, tier: 2}]}
"""
TEXT = b"What the file says.\n"


class World:
    """A data plane before providers of three dialects, of two of them twice."""

    def __init__(self, plane: OneDataPlane, sims: dict[str, SimProvider]) -> None:
        self.plane = plane
        self.sims = sims
        self._clients: list[Any] = []

    def asked(self) -> dict[str, int]:
        """Return how often each provider was asked, if it was, and forget it."""
        counts = {name: sim.stats()["requests"] for name, sim in self.sims.items()}
        for sim in self.sims.values():
            sim._counts.clear()  # as DELETE /_sim/stats does
        return {name: count for name, count in counts.items() if count}

    async def close(self) -> None:
        """Close the clients."""
        for client in self._clients:
            await client.close() if isinstance(client, anthropic.AsyncAnthropic) else await client.aclose()

    def claude(self, provider: str = "", key: str = "none", url: str = "") -> anthropic.AsyncAnthropic:
        """Return Anthropic's client."""
        fields = {"x-edge-provider": provider} if provider else {}
        self._clients.append(
            anthropic.AsyncAnthropic(base_url=url or self.plane.url, api_key=key, max_retries=0, default_headers=fields)
        )
        return self._clients[-1]

    def google(self, provider: str = "", key: str = "none") -> Any:
        """Return Google's client."""
        fields = {"x-edge-provider": provider} if provider else {}
        options = types.HttpOptions(base_url=self.plane.url, headers=fields)
        self._clients.append(genai.Client(api_key=key, vertexai=False, http_options=options).aio)
        return self._clients[-1]


@contextlib.asynccontextmanager
async def world(more: str = "") -> AsyncIterator[World]:
    """Run the providers and edge."""
    async with contextlib.AsyncExitStack() as stack:
        sims = {
            name: await stack.enter_async_context(
                SimProvider(ProviderSpec(name=name, pace=Pace(ttft_s=0, tps=0, tokens=6)))
            )
            for name in NAMES
        }
        text = "providers:\n"
        for name, sim in sims.items():
            dialect = {"o": "openai", "c": "anthropic", "g": "gemini"}[name[0]]
            root = f"{sim.url}/{'v1beta' if dialect == 'gemini' else 'v1'}"
            text += f"  {name}: {{base_url: '{root}', dialect: {dialect}, api_key: sk-of-edge}}\n"
        plane = await stack.enter_async_context(one_data_plane(f"{text}models:{MODELS}{more}"))
        place = World(plane, sims)
        try:
            yield place
        finally:
            await place.close()


@pytest.mark.parametrize("name", ["claude-a", "claude-b"])
async def test_a_message_batch_stays_with_its_provider(name: str) -> None:
    """Create, retrieve, results, cancel, list and delete reach the provider that made the batch, and no other."""
    async with world() as place:
        params: Any = {"model": "sim", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
        batch = await place.claude(name).messages.batches.create(requests=[{"custom_id": "one", "params": params}])
        client = place.claude()
        ended = await client.messages.batches.retrieve(batch.id)
        assert (ended.processing_status, ended.request_counts.succeeded) == ("ended", 1)
        assert ended.results_url == f"{place.plane.url}/v1/messages/batches/{batch.id}/results"
        results = [line async for line in await client.messages.batches.results(batch.id)]
        assert [(line.custom_id, line.result.type) for line in results] == [("one", "succeeded")]
        assert (await client.messages.batches.cancel(batch.id)).id == batch.id
        listed = [each.id async for each in await place.claude(name).messages.batches.list(limit=5, after_id=batch.id)]
        assert listed == [batch.id]
        assert (await client.messages.batches.delete(batch.id)).id == batch.id
        assert place.asked() == {name: 7}
        with pytest.raises(anthropic.NotFoundError) as missing:
            await client.messages.batches.retrieve(batch.id)
        assert missing.value.body["error"]["type"] == "not_found_error"  # type: ignore[index]


@pytest.mark.parametrize("name", ["claude-a", "claude-b"])
async def test_a_file_of_anthropic_stays_with_its_provider(name: str) -> None:
    """An upload is one of Anthropic's by its version; a message that names the file is asked where the file is."""
    async with world() as place:
        file = await place.claude(name).beta.files.upload(file=("a.txt", TEXT, "text/plain"))
        client = place.claude()
        assert (await client.beta.files.retrieve_metadata(file.id)).filename == "a.txt"
        assert await (await client.beta.files.download(file.id)).read() == TEXT
        content: Any = [{"type": "document", "source": {"type": "file", "file_id": file.id}}]
        await client.beta.messages.create(
            model="claude",
            max_tokens=9,
            messages=[{"role": "user", "content": content}],
            betas=["files-api-2025-04-14"],
        )
        assert (await client.beta.files.delete(file.id)).id == file.id
        assert place.asked() == {name: 5}


@pytest.mark.parametrize("name", ["gemini-a", "gemini-b"])
async def test_a_file_of_gemini_stays_with_its_provider(name: str) -> None:
    """The bytes of an upload pass edge, and a prompt that names the file is asked where the file is."""
    async with world() as place:
        config = types.UploadFileConfig(mime_type="text/plain", display_name="a")
        file = await place.google(name).files.upload(file=io.BytesIO(TEXT), config=config)
        assert (file.size_bytes, file.state) == (len(TEXT), types.FileState.ACTIVE)
        client = place.google()
        assert (await client.files.get(name=file.name or "")).uri == file.uri
        said = await client.models.generate_content(model="gemini", contents=[file, "What does it say?"])
        assert said.text
        await client.files.delete(name=file.name or "")
        assert place.asked() == {name: 5}
        with pytest.raises(genai.errors.ClientError) as missing:
            await client.files.get(name=file.name or "")
        assert (missing.value.code, missing.value.status) == (404, "NOT_FOUND")


@pytest.mark.parametrize("name", ["gemini-a", "gemini-b"])
async def test_a_prompt_that_gemini_keeps_stays_with_its_provider(name: str) -> None:
    """Create, get, update, list and delete reach the provider that keeps it, and so does a prompt that names it."""
    async with world() as place:
        config = types.CreateCachedContentConfig(contents=["Long."], display_name="a")
        kept = await place.google(name).caches.create(model="models/sim", config=config)
        client, kept_name = place.google(), kept.name or ""
        assert kept_name.startswith("cachedContents/")
        assert (await client.caches.get(name=kept_name)).model == "models/sim"
        later = types.UpdateCachedContentConfig(ttl="60s")
        assert (await client.caches.update(name=kept_name, config=later)).name == kept_name
        assert [each.name async for each in await place.google(name).caches.list()] == [kept_name]
        using = types.GenerateContentConfig(cached_content=kept_name)
        assert (await client.models.generate_content(model="gemini", contents="Hi", config=using)).text
        await client.caches.delete(name=kept_name)
        assert place.asked() == {name: 6}
        with pytest.raises(genai.errors.ClientError) as missing:
            await client.caches.get(name=kept_name)
        assert missing.value.code == 404


@pytest.mark.parametrize("name", ["gemini-a", "gemini-b"])
async def test_a_batch_of_gemini_stays_with_its_provider(name: str) -> None:
    """Create, get, cancel, list and delete reach the provider that made the batch, and no other."""
    async with world() as place:
        asks: Any = [{"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}]
        batch = await place.google(name).batches.create(model="sim", src=asks)
        client, batch_name = place.google(), batch.name or ""
        assert batch_name.startswith("batches/")
        assert (await client.batches.get(name=batch_name)).state == types.JobState.JOB_STATE_PENDING
        await client.batches.cancel(name=batch_name)
        assert (await client.batches.get(name=batch_name)).state == types.JobState.JOB_STATE_CANCELLED
        assert [each.name async for each in await place.google(name).batches.list()] == [batch_name]
        await client.batches.delete(name=batch_name)
        assert place.asked() == {name: 6}


async def test_a_prompt_and_a_batch_of_gemini_are_their_key_s() -> None:
    """What one key keeps is not there for another, in lists and prompts neither."""
    async with world(keys(alice="", bob="")) as place:
        alice, bob = place.google(key=clear("alice")), place.google(key=clear("bob"))
        config = types.CreateCachedContentConfig(contents=["Long."])
        kept = await alice.caches.create(model="models/sim", config=config)
        batch = await alice.batches.create(model="sim", src=[{"contents": [{"parts": [{"text": "Hi"}]}]}])
        assert [each async for each in await bob.caches.list()] == []
        assert [each async for each in await bob.batches.list()] == []
        using = types.GenerateContentConfig(cached_content=kept.name)
        for asked in (
            bob.caches.get(name=kept.name),
            bob.batches.get(name=batch.name),
            bob.models.generate_content(model="gemini", contents="Hi", config=using),
        ):
            with pytest.raises(genai.errors.ClientError, match="404"):
                await asked
        assert (await alice.caches.get(name=kept.name)).name == kept.name


async def test_models_are_listed_in_the_form_of_each_vendor() -> None:
    """Every official client finds the aliases by its own call, whole and one by one."""
    async with world() as place:
        claude, google = place.claude(), place.google()
        assert [each.id async for each in claude.models.list()][:2] == ["claude", "gemini"]
        one = await claude.models.retrieve("claude")
        assert (one.id, one.display_name, one.type, one.lifecycle) == ("claude", "claude", "model", "active")
        assert [each.name async for each in await google.models.list()][:2] == ["models/claude", "models/gemini"]
        assert (await google.models.get(model="gemini")).name == "models/gemini"
        async with httpx.AsyncClient(base_url=place.plane.url) as client:
            assert (await client.get("/v1beta/models")).json()["models"][0]["displayName"] == "claude"
            assert (await client.get("/v1beta/models/gemini-a/sim")).json()["name"] == "models/gemini-a/sim"
            missing = await client.get("/v1beta/models/nothing")
            assert (missing.status_code, missing.json()["error"]["status"]) == (404, "NOT_FOUND")
            assert (await client.get("/v1/models")).json()["object"] == "list"
        assert place.asked() == {}


async def test_what_is_not_relayed_is_refused_in_the_form_of_each_vendor() -> None:
    """A path that edge does not have, and a model that nobody has, are errors that each official client understands."""
    async with world() as place:
        claude, google = place.claude(), place.google()
        with pytest.raises(anthropic.NotFoundError, match="/v1/skills") as refused:
            await claude.beta.skills.list()
        assert refused.value.body["error"]["type"] == "not_found_error"  # type: ignore[index]
        with pytest.raises(anthropic.NotFoundError, match="nothing") as refused:
            await claude.models.retrieve("nothing")
        assert refused.value.body["error"]["type"] == "not_found_error"  # type: ignore[index]
        with pytest.raises(genai.errors.ClientError, match="fileSearchStores") as said:
            await google.file_search_stores.create()
        assert (said.value.code, said.value.status) == (404, "NOT_FOUND")
        async with httpx.AsyncClient(base_url=place.plane.url) as client:
            assert (await client.post("/v1/assistants", json={})).json()["error"]["code"] == "unknown_path"


async def test_models_are_listed_to_each_key_in_every_form_alike() -> None:
    """A key sees the models that it may use; errors of a wrong key and of a model it may not use are the vendor's."""
    async with world(keys(alice="models: [claude]", bob="")) as place:
        claude, google = place.claude(key=clear("alice")), place.google(key=clear("alice"))
        assert [each.id async for each in claude.models.list()] == ["claude"]
        assert [each.name async for each in await google.models.list()] == ["models/claude"]
        assert len([each.id async for each in place.claude(key=clear("bob")).models.list()]) > 2
        with pytest.raises(anthropic.PermissionDeniedError) as refused:
            await claude.models.retrieve("gemini")
        assert refused.value.body["error"]["type"] == "permission_error"  # type: ignore[index]
        with pytest.raises(genai.errors.ClientError) as said:
            await google.models.get(model="gemini")
        assert (said.value.code, said.value.status) == (403, "PERMISSION_DENIED")
        with pytest.raises(anthropic.AuthenticationError) as unknown:
            await place.claude(key="sk-wrong").models.list()
        assert unknown.value.body["error"]["type"] == "authentication_error"  # type: ignore[index]
        with pytest.raises(genai.errors.ClientError) as said:
            await place.google(key="sk-wrong").models.list()
        assert (said.value.code, said.value.status) == (401, "UNAUTHENTICATED")


async def test_what_names_no_id_goes_to_the_first_provider_of_its_dialect() -> None:
    """Lists and uploads of each API are asked of a provider that has that API."""
    async with world() as place:
        assert [each async for each in await place.claude().messages.batches.list()] == []
        assert [each async for each in await place.claude().beta.files.list()] == []
        assert place.asked() == {"claude-a": 2}
        assert [each async for each in await place.google().files.list()] == []
        assert place.asked() == {"gemini-a": 1}
        async with httpx.AsyncClient(base_url=place.plane.url) as client:
            assert (await client.get("/v1/files")).json()["data"] == []
        assert place.asked() == {"openai": 1}


async def test_an_unknown_id_is_asked_of_providers_of_its_dialect() -> None:
    """A batch that nobody remembers is sought at both of Anthropic's dialect, and at no other."""
    async with world() as place:
        batch = await place.claude(url=place.sims["claude-b"].url).messages.batches.create(requests=[])
        place.asked()
        assert (await place.claude().messages.batches.retrieve(batch.id)).id == batch.id
        assert set(place.asked()) <= {"claude-a", "claude-b"}
        with pytest.raises(anthropic.NotFoundError):
            await place.claude().messages.batches.retrieve("msgbatch_none")
        assert place.asked() == {"claude-a": 1, "claude-b": 1}


async def test_what_one_key_has_made_is_not_there_for_another() -> None:
    """Batches and files of another key are answered with 404, left out of lists, and cannot be named in prompts."""
    async with world(keys(alice="", bob="")) as place:
        batch = await place.claude(key=clear("alice")).messages.batches.create(requests=[])
        config = types.UploadFileConfig(mime_type="text/plain")
        file = await place.google(key=clear("alice")).files.upload(file=io.BytesIO(TEXT), config=config)
        assert [each.name async for each in await place.google(key=clear("alice")).files.list()] == [file.name]
        bob, google = place.claude(key=clear("bob")), place.google(key=clear("bob"))
        with pytest.raises(anthropic.NotFoundError):
            await bob.messages.batches.retrieve(batch.id)
        assert [each async for each in await bob.messages.batches.list()] == []
        assert [each async for each in await google.files.list()] == []
        with pytest.raises(genai.errors.ClientError, match="404"):
            await google.files.get(name=file.name or "")
        link = file.uri or ""
        for uri in (link, file.name or "", f"{link}?alt=media", link.replace("gemini", "%67emini")):
            part = types.Part.from_uri(file_uri=uri, mime_type="text/plain")
            with pytest.raises(genai.errors.ClientError, match="404"):
                await google.models.generate_content(model="gemini", contents=[part])
        assert place.asked().keys() <= {"claude-a", "gemini-a"}


async def test_bytes_without_a_key_belong_to_an_upload_or_are_refused() -> None:
    """An upload that a key has begun needs no key for its bytes; one that nobody has begun does."""
    async with world(keys(alice="")) as place:
        begin = {
            "x-goog-upload-protocol": "resumable",
            "x-goog-upload-command": "start",
            "x-goog-api-key": clear("alice"),
        }
        send = {"x-goog-upload-command": "upload, finalize", "x-goog-upload-offset": "0"}
        async with httpx.AsyncClient() as client:
            begun = await client.post(f"{place.plane.url}/upload/v1beta/files", headers=begin, json={"file": {}})
            link = begun.headers["x-goog-upload-url"]
            assert link.startswith(f"{place.plane.url}/upload/v1beta/files?upload_id=")
            refused = await client.post(link.replace("upload_id=", "upload_id=x"), headers=send, content=TEXT)
            assert (refused.status_code, refused.json()["error"]["status"]) == (401, "UNAUTHENTICATED")
            sent = await client.post(link, headers=send, content=TEXT)
            name = sent.json()["file"]["name"]
            assert (await client.get(f"{place.plane.url}/v1beta/{name}")).status_code == 401
            # The id of the file is no secret, and stands for nobody.
            upload = f"{place.plane.url}/upload/v1beta/files?upload_id={name}"
            place.asked()
            for command in (send, {"x-goog-upload-command": "start"}):
                assert (await client.post(upload, headers=command, content=TEXT)).status_code == 401
            assert place.asked() == {}
            found = await client.get(f"{place.plane.url}/v1beta/{name}?key={clear('alice')}")
            assert (found.status_code, found.json()["sizeBytes"]) == (200, str(len(TEXT)))


async def test_without_a_provider_of_the_dialect_the_refusal_says_so() -> None:
    """Where no provider has the API, the error names the dialect, in its own words."""
    async with SimProvider(ProviderSpec(name="sim")) as sim:
        text = f"providers: {{only: {{base_url: '{sim.base_url}'}}}}\nmodels: {{m: {{targets: [only/sim]}}}}\n"
        async with one_data_plane(text) as plane, httpx.AsyncClient(base_url=plane.url) as client:
            told = await client.get("/v1/messages/batches", headers={"anthropic-version": "2023-06-01"})
            assert (told.status_code, told.json()["type"]) == (400, "error")
            assert "the dialect anthropic" in told.json()["error"]["message"]
            told = await client.get("/v1beta/files")
            assert (told.status_code, told.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
        assert sim.stats()["requests"] == 0
