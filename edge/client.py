"""Python client for edge's gRPC API, blocking and asyncio.

    from edge.client import connect, text

    with connect("127.0.0.1:8080", key="…") as edge:
        print(text(edge.chat("chat", "Say hello.")))

Calls return the messages of protos/edge/v1/inference.proto; ``docs/grpc.md`` has more examples. A call that fails
raises ``grpc.RpcError``, whose ``code()`` and ``details()`` are described in that proto.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self, TypedDict, Unpack

import grpc
import grpc.aio

from edge.wire.edge.v1.inference_pb2 import (
    ROLE_USER,
    ChatRequest,
    ListModelsRequest,
    Message,
    Part,
    Sampling,
)
from edge.wire.edge.v1.inference_pb2_grpc import InferenceStub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from edge.wire.edge.v1.inference_pb2 import (
        ChatChunk,
        ChatResponse,
        Model,
        ResponseFormat,
        Role,
        Tool,
        ToolChoice,
    )

# gRPC's default limit for a response is 4 MiB, which a response with images can exceed.
ANSWER_LIMIT: Final = 64 << 20
_OPTIONS: Final = [("grpc.max_receive_message_length", ANSWER_LIMIT)]


class Options(TypedDict, total=False):
    """Optional fields of a request; the proto describes each."""

    tools: Sequence[Tool]
    tool_choice: ToolChoice
    parallel_tool_calls: bool
    sampling: Sampling
    response_format: ResponseFormat
    stop: Sequence[str]
    user: str
    extra: Mapping[str, Any]


def connect(address: str, *, key: str = "", tls: bool = False, ca: bytes | None = None) -> Client:
    """Return a client; it sends nothing before its first call.

    Args:
        address: host and port of a listener of edge.
        key: a key of the node, if it requires one.
        tls: whether the listener speaks TLS.
        ca: certificates (PEM) to trust in place of the system's; implies ``tls``.
    """
    if tls or ca is not None:
        return Client(grpc.secure_channel(address, grpc.ssl_channel_credentials(ca), _OPTIONS), key)
    return Client(grpc.insecure_channel(address, _OPTIONS), key)


def connect_async(address: str, *, key: str = "", tls: bool = False, ca: bytes | None = None) -> AsyncClient:
    """Return a client for the running event loop; arguments as for :func:`connect`."""
    if tls or ca is not None:
        return AsyncClient(grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(ca), _OPTIONS), key)
    return AsyncClient(grpc.aio.insecure_channel(address, _OPTIONS), key)


def message(content: str, role: Role = ROLE_USER) -> Message:
    """Return a message with one text part."""
    return Message(role=role, parts=[Part(text=content)])


def text(answer: ChatResponse) -> str:
    """Return the text of the first choice; "" if it has none."""
    return "".join(part.text for part in answer.choices[0].message.parts) if answer.choices else ""


def new_text(chunk: ChatChunk) -> str:
    """Return the text that a chunk adds to the first choice."""
    return "".join(delta.text for delta in chunk.choices if delta.index == 0)


def chat_request(model: str, messages: str | Sequence[Message], options: Options) -> ChatRequest:
    """Return the request; a plain string becomes a message of the user."""
    return ChatRequest(model=model, messages=[message(messages)] if isinstance(messages, str) else messages, **options)


class Client:
    """A blocking client. Threads may share it; close it, or use it in a ``with`` block."""

    def __init__(self, channel: grpc.Channel, key: str = "") -> None:
        self.channel = channel
        self._calls: Any = InferenceStub(channel)  # the generated stub is untyped; the methods below add types
        self._metadata = _bearer(key)

    def chat(
        self,
        model: str,
        messages: str | Sequence[Message],
        *,
        timeout_s: float | None = None,
        **options: Unpack[Options],
    ) -> ChatResponse:
        """Return a complete response.

        Raises:
            grpc.RpcError: see the proto.
        """
        answer: ChatResponse = self._calls.Chat(
            chat_request(model, messages, options), timeout=timeout_s, metadata=self._metadata
        )
        return answer

    def chat_stream(
        self,
        model: str,
        messages: str | Sequence[Message],
        *,
        timeout_s: float | None = None,
        **options: Unpack[Options],
    ) -> Iterator[ChatChunk]:
        """Yield a response chunk by chunk.

        Raises:
            grpc.RpcError: see the proto; chunks yielded before it are an incomplete response.
        """
        call = self._calls.ChatStream(
            chat_request(model, messages, options), timeout=timeout_s, metadata=self._metadata
        )
        try:
            yield from call
        finally:
            call.cancel()  # frees the provider when the caller stops early

    def models(self, *, timeout_s: float | None = None) -> list[Model]:
        """Return the models that this client may use.

        Raises:
            grpc.RpcError: see the proto.
        """
        return list(self._calls.ListModels(ListModelsRequest(), timeout=timeout_s, metadata=self._metadata).models)

    def close(self) -> None:
        """Close the connection and end every call on it."""
        self.channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncClient:
    """The asyncio client; close it, or use it in an ``async with`` block."""

    def __init__(self, channel: grpc.aio.Channel, key: str = "") -> None:
        self.channel = channel
        self._calls: Any = InferenceStub(channel)  # the generated stub is untyped; the methods below add types
        self._metadata = _bearer(key)

    async def chat(
        self,
        model: str,
        messages: str | Sequence[Message],
        *,
        timeout_s: float | None = None,
        **options: Unpack[Options],
    ) -> ChatResponse:
        """Return a complete response.

        Raises:
            grpc.RpcError: see the proto.
        """
        answer: ChatResponse = await self._calls.Chat(
            chat_request(model, messages, options), timeout=timeout_s, metadata=self._metadata
        )
        return answer

    async def chat_stream(
        self,
        model: str,
        messages: str | Sequence[Message],
        *,
        timeout_s: float | None = None,
        **options: Unpack[Options],
    ) -> AsyncIterator[ChatChunk]:
        """Yield a response chunk by chunk.

        Raises:
            grpc.RpcError: see the proto; chunks yielded before it are an incomplete response.
        """
        call = self._calls.ChatStream(
            chat_request(model, messages, options), timeout=timeout_s, metadata=self._metadata
        )
        try:
            async for chunk in call:
                yield chunk
        finally:
            call.cancel()  # frees the provider when the caller stops early

    async def models(self, *, timeout_s: float | None = None) -> list[Model]:
        """Return the models that this client may use.

        Raises:
            grpc.RpcError: see the proto.
        """
        listed = await self._calls.ListModels(ListModelsRequest(), timeout=timeout_s, metadata=self._metadata)
        return list(listed.models)

    async def close(self) -> None:
        """Close the connection and end every call on it."""
        await self.channel.close(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _bearer(key: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {key}"),) if key else ()
