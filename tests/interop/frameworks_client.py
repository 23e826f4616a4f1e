"""Asks with LangChain and LlamaIndex: frameworks_client.py URL KEY MODEL... Prints "NAME: ok", or what went wrong."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel, SecretStr

if TYPE_CHECKING:
    from collections.abc import Callable

URL, KEY, *MODELS = sys.argv[1:]


class Person(BaseModel):
    """What a structured answer has."""

    name: str
    age: int


@tool
def get_weather(city: str) -> str:
    """Return the weather of a city."""
    return f"sunny in {city}"


def weather(city: str) -> str:
    """Return the weather of a city."""
    return f"sunny in {city}"


def chain(model: str) -> ChatOpenAI:
    """Return LangChain's model."""
    return ChatOpenAI(model=model, base_url=URL, api_key=SecretStr(KEY), max_retries=0, timeout=30)


def index(model: str) -> OpenAILike:
    """Return LlamaIndex' model."""
    return OpenAILike(
        model=model, api_base=URL, api_key=KEY, is_chat_model=True, is_function_calling_model=True, max_retries=0
    )


def langchain_chat(model: str) -> None:
    """A whole answer has text and usage."""
    answer = chain(model).invoke("hello")
    assert answer.text
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] > 0


def langchain_stream(model: str) -> None:
    """A stream has text."""
    assert "".join(chunk.text for chunk in chain(model).stream("hello"))


def langchain_tools(model: str) -> None:
    """A bound tool is called."""
    answer = chain(model).bind_tools([get_weather], tool_choice="required").invoke("What is the weather in Paris?")
    assert answer.tool_calls[0]["name"] == "get_weather"


def langchain_structured(model: str) -> None:
    """A structured answer is parsed."""
    assert isinstance(chain(model).with_structured_output(Person).invoke("Who is it?"), Person)


def llamaindex_chat(model: str) -> None:
    """A whole answer has text."""
    assert index(model).chat([ChatMessage(role="user", content="hello")]).message.content


def llamaindex_stream(model: str) -> None:
    """A stream has text."""
    assert "".join(part.delta or "" for part in index(model).stream_chat([ChatMessage(role="user", content="hello")]))


def llamaindex_tools(model: str) -> None:
    """A function is called."""
    llm = index(model)
    answer = llm.chat_with_tools(
        [FunctionTool.from_defaults(fn=weather)], user_msg="What is the weather in Paris?", tool_required=True
    )
    assert llm.get_tool_calls_from_response(answer)[0].tool_name == "weather"


def langchain_embeddings() -> None:
    """Two texts have two vectors."""
    embeddings = OpenAIEmbeddings(model="embed", base_url=URL, api_key=SecretStr(KEY), check_embedding_ctx_length=False)
    assert len(embeddings.embed_documents(["one", "two"])) == 2


def llamaindex_embeddings() -> None:
    """Two texts have two vectors."""
    embeddings = OpenAILikeEmbedding(model_name="embed", api_base=URL, api_key=KEY)
    assert len(embeddings.get_text_embedding_batch(["one", "two"])) == 2


def report(name: str, case: Callable[..., None], *arguments: str) -> None:
    """Run a case and print how it went."""
    try:
        case(*arguments)
        said = "ok"
    except Exception as error:  # noqa: BLE001 - what went wrong is what is asked
        said = " ".join(f"{type(error).__name__}: {error}".split())[:250]
    print(f"{name}: {said}", flush=True)


for single in (langchain_embeddings, llamaindex_embeddings):
    report(single.__name__.replace("_", " "), single)
for asked in MODELS:
    for per_model in (
        langchain_chat, langchain_stream, langchain_tools, langchain_structured, llamaindex_chat, llamaindex_stream,
        llamaindex_tools,
    ):  # fmt: skip
        report(f"{asked} {per_model.__name__.replace('_', ' ')}", per_model, asked)
