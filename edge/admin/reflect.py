"""gRPC server reflection (v1 and v1alpha) as generic handlers for a grpc.aio server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc

from edge.listen.calls import REFLECTION, REFLECTION_METHOD
from edge.listen.reflection import Reflection, ReflectionError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from google.protobuf.descriptor import FileDescriptor


def reflection_calls(
    files: Iterable[FileDescriptor], services: Iterable[str]
) -> tuple[grpc.GenericRpcHandler[Any, Any], ...]:
    """Return the handlers for ``server.add_generic_rpc_handlers``.

    Args:
        files: descriptors of the files that define the services.
        services: full names of the services, without those of reflection.
    """
    directory = Reflection(files, services)

    async def answer(
        messages: AsyncIterator[bytes], call: grpc.aio.ServicerContext[bytes, bytes]
    ) -> AsyncIterator[bytes]:
        async for message in messages:
            try:
                response = directory.answer(message)
            except ReflectionError as error:
                await call.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            yield response

    # Without serializers messages stay bytes, which is what the directory reads and writes.
    method = grpc.stream_stream_rpc_method_handler(answer)
    return tuple(grpc.method_handlers_generic_handler(name, {REFLECTION_METHOD: method}) for name in REFLECTION)
