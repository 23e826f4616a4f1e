"""How does a Python program ask models through edge over gRPC?  In three lines, waiting or not.

    from edge.client import connect, text

    with connect("127.0.0.1:8080", key="…") as edge:
        print(text(edge.chat("chat", "Say hello.")))

What comes back are the messages of protos/edge/v1/inference.proto, typed; ``docs/grpc.md`` shows more. A call that
fails raises ``grpc.RpcError``: ``error.code()`` and ``error.details()`` say why, in the words of that proto.
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

# gRPC's own bound on an answer is 4 MiB, and an answer may hold pictures.
ANSWER_LIMIT: Final = 64 << 20
_OPTIONS: Final = [("grpc.max_receive_message_length", ANSWER_LIMIT)]


class Options(TypedDict, total=False):
    """What else a request may say; the proto tells what each field means."""

    tools: Sequence[Tool]
    tool_choice: ToolChoice
    parallel_tool_calls: bool
    sampling: Sampling
    response_format: ResponseFormat
    stop: Sequence[str]
    user: str
    extra: Mapping[str, Any]


def connect(address: str, *, key: str = "", tls: bool = False, ca: bytes | None = None) -> Client:
    """Return a client; nothing is sent before its first call.

    Args:
        address: host and port of a listener of edge.
        key: one of the node's keys, where it has any.
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


def said(content: str, role: Role = ROLE_USER) -> Message:
    """Return a message of one text."""
    return Message(role=role, parts=[Part(text=content)])


def text(answer: ChatResponse) -> str:
    """Return the text of the first choice; "" when it has none."""
    return "".join(part.text for part in answer.choices[0].message.parts) if answer.choices else ""


def new_text(chunk: ChatChunk) -> str:
    """Return what a chunk adds to the text of the first choice."""
    return "".join(delta.text for delta in chunk.choices if delta.index == 0)


def asked(model: str, messages: str | Sequence[Message], options: Options) -> ChatRequest:
    """Return the request; a bare text is what the user says."""
    return ChatRequest(model=model, messages=[said(messages)] if isinstance(messages, str) else messages, **options)


class Client:
    """Asks and waits. May be shared by threads; close it, or use it in a ``with``."""

    def __init__(self, channel: grpc.Channel, key: str = "") -> None:
        self.channel = channel
        self._calls: Any = InferenceStub(channel)  # generated without types; the methods below have them
        self._metadata = _bearer(key)

    def chat(
        self,
        model: str,
        messages: str | Sequence[Message],
        *,
        timeout_s: float | None = None,
        **options: Unpack[Options],
    ) -> ChatResponse:
        """Return one whole answer.

        Raises:
            grpc.RpcError: see the proto.
        """
        answer: ChatResponse = self._calls.Chat(
            asked(model, messages, options), timeout=timeout_s, metadata=self._metadata
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
        """Yield an answer piece by piece.

        Raises:
            grpc.RpcError: see the proto; after a piece was yielded, the answer is incomplete.
        """
        call = self._calls.ChatStream(asked(model, messages, options), timeout=timeout_s, metadata=self._metadata)
        try:
            yield from call
        finally:
            call.cancel()  # whoever stops listening early frees the provider too

    def models(self, *, timeout_s: float | None = None) -> list[Model]:
        """Return what may be asked.

        Raises:
            grpc.RpcError: see the proto.
        """
        return list(self._calls.ListModels(ListModelsRequest(), timeout=timeout_s, metadata=self._metadata).models)

    def close(self) -> None:
        """End the connection and every call on it."""
        self.channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncClient:
    """The same on an event loop; close it, or use it in an ``async with``."""

    def __init__(self, channel: grpc.aio.Channel, key: str = "") -> None:
        self.channel = channel
        self._calls: Any = InferenceStub(channel)  # generated without types; the methods below have them
        self._metadata = _bearer(key)

    async def chat(
        self,
        model: str,
        messages: str | Sequence[Message],
        *,
        timeout_s: float | None = None,
        **options: Unpack[Options],
    ) -> ChatResponse:
        """Return one whole answer.

        Raises:
            grpc.RpcError: see the proto.
        """
        answer: ChatResponse = await self._calls.Chat(
            asked(model, messages, options), timeout=timeout_s, metadata=self._metadata
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
        """Yield an answer piece by piece.

        Raises:
            grpc.RpcError: see the proto; after a piece was yielded, the answer is incomplete.
        """
        call = self._calls.ChatStream(asked(model, messages, options), timeout=timeout_s, metadata=self._metadata)
        try:
            async for chunk in call:
                yield chunk
        finally:
            call.cancel()  # whoever stops listening early frees the provider too

    async def models(self, *, timeout_s: float | None = None) -> list[Model]:
        """Return what may be asked.

        Raises:
            grpc.RpcError: see the proto.
        """
        listed = await self._calls.ListModels(ListModelsRequest(), timeout=timeout_s, metadata=self._metadata)
        return list(listed.models)

    async def close(self) -> None:
        """End the connection and every call on it."""
        await self.channel.close(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _bearer(key: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {key}"),) if key else ()
