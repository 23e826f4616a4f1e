"""gRPC server reflection for edge's own services, so that grpcurl and other tools can discover them.

The module turns descriptors into responses and knows only the files it was given, whatever else the process has
imported. It serves both versions of the protocol. They differ only in the package's name, so v1 messages are encoded
exactly like those of v1alpha. Source: grpc/grpc, doc/server-reflection.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from grpc_reflection.v1alpha import reflection_pb2

from edge.listen.calls import REFLECTION
from edge.listen.grpc_status import Code

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.descriptor import FileDescriptor


class ReflectionError(ValueError):
    """The message is not a ServerReflectionRequest."""


class Reflection:
    """Answers reflection requests for a set of files.

    Args:
        files: descriptors of the files to serve; their imports and reflection's own file are added.
        services: full names of the services to list; the two reflection services are added.
    """

    def __init__(self, files: Iterable[FileDescriptor], services: Iterable[str]) -> None:
        self._services = sorted({*services, *REFLECTION})
        self._pool = DescriptorPool()
        self._needs: dict[str, tuple[str, ...]] = {}
        self._files: dict[str, bytes] = {}
        for file in files:
            self._add(file)
        self._add(reflection_pb2.DESCRIPTOR)
        self._register(_renamed(reflection_pb2.DESCRIPTOR))

    def _add(self, file: FileDescriptor) -> None:
        if file.name in self._files:
            return
        for needed in file.dependencies:
            self._add(needed)
        proto = FileDescriptorProto()
        file.CopyToProto(proto)
        self._register(proto)

    def _register(self, proto: FileDescriptorProto) -> None:
        self._files[proto.name] = proto.SerializeToString()
        self._needs[proto.name] = tuple(proto.dependency)
        self._pool.AddSerializedFile(self._files[proto.name])

    def answer(self, message: bytes) -> bytes:
        """Return the ServerReflectionResponse to one ServerReflectionRequest.

        Raises:
            ReflectionError: the message cannot be decoded.
        """
        try:
            question = reflection_pb2.ServerReflectionRequest.FromString(message)
        except DecodeError as error:
            raise ReflectionError("the message is not a ServerReflectionRequest") from error
        answer = reflection_pb2.ServerReflectionResponse(valid_host=question.host, original_request=question)
        try:
            self._fill(question, answer)
        except KeyError:
            answer.error_response.error_code = Code.NOT_FOUND
            answer.error_response.error_message = "no symbol or file of that name is served here"
        return bytes(answer.SerializeToString())

    def _fill(
        self, question: reflection_pb2.ServerReflectionRequest, answer: reflection_pb2.ServerReflectionResponse
    ) -> None:
        asked = question.WhichOneof("message_request")
        if asked == "list_services":
            for name in self._services:
                answer.list_services_response.service.add(name=name)
        elif asked == "file_by_filename":
            self._tell(question.file_by_filename, answer)
        elif asked == "file_containing_symbol":
            self._tell(self._file_of(question.file_containing_symbol), answer)
        elif asked == "all_extension_numbers_of_type":
            # proto3 allows extensions of options only, and our files define none.
            kind = self._pool.FindMessageTypeByName(question.all_extension_numbers_of_type)
            answer.all_extension_numbers_response.base_type_name = kind.full_name
        elif asked == "file_containing_extension":
            raise KeyError(question.file_containing_extension.containing_type)
        else:
            answer.error_response.error_code = Code.INVALID_ARGUMENT
            answer.error_response.error_message = "the request type is not known to this version of the protocol"

    def _file_of(self, symbol: str) -> str:
        try:
            return self._pool.FindFileContainingSymbol(symbol).name
        except KeyError:  # the pool does not treat methods as symbols; the protocol does
            service, _, method = symbol.rpartition(".")
            return self._pool.FindServiceByName(service).methods_by_name[method].containing_service.file.name

    def _tell(self, name: str, answer: reflection_pb2.ServerReflectionResponse) -> None:
        """Add a file and everything it imports; a client ignores those it has already."""
        open_names, told = [name], dict[str, bytes]()
        while open_names:
            one = open_names.pop()
            if one not in told:
                told[one] = self._files[one]
                open_names += self._needs[one]
        answer.file_descriptor_response.file_descriptor_proto.extend(told.values())


def _renamed(file: FileDescriptor) -> FileDescriptorProto:
    """Return the descriptor of grpc.reflection.v1, which differs from v1alpha only in the package's name."""
    proto = FileDescriptorProto()
    file.CopyToProto(proto)
    old, new = f".{proto.package}.", ".grpc.reflection.v1."
    proto.name, proto.package = "grpc/reflection/v1/reflection.proto", "grpc.reflection.v1"
    proto.ClearField("options")
    for message in proto.message_type:
        for field in message.field:
            if field.type_name:
                field.type_name = field.type_name.replace(old, new)
    for service in proto.service:
        for method in service.method:
            method.input_type = method.input_type.replace(old, new)
            method.output_type = method.output_type.replace(old, new)
    return proto
