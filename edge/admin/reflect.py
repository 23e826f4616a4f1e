"""How does a grpc.aio server let itself be asked what it serves?  Server reflection, both versions, as handlers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc

from edge.listen.reflection import METHOD, V1, V1ALPHA, Reflection, ReflectionError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from google.protobuf.descriptor import FileDescriptor


def reflection_calls(
    files: Iterable[FileDescriptor], services: Iterable[str]
) -> tuple[grpc.GenericRpcHandler[Any, Any], ...]:
    """Return what to give to ``server.add_generic_rpc_handlers``.

    Args:
        files: where the services are described.
        services: their full names, reflection's own aside.
    """
    directory = Reflection(files, services)

    async def answer(
        messages: AsyncIterator[bytes], call: grpc.aio.ServicerContext[bytes, bytes]
    ) -> AsyncIterator[bytes]:
        async for message in messages:
            try:
                told = directory.answer(message)
            except ReflectionError as error:
                await call.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            yield told

    # Messages go in and out as bytes: the directory reads them itself.
    method = grpc.stream_stream_rpc_method_handler(answer)
    return tuple(grpc.method_handlers_generic_handler(name, {METHOD: method}) for name in (V1, V1ALPHA))
