"""gRPC server reflection, so that grpcurl and other tools can discover edge's own services and those behind it.

The module turns descriptors into responses and knows only the files it was given, whatever else the process has
imported. Those of services behind edge are what their backends said to control (edge.control.describing). Both versions
of the protocol differ only in the package's name, so v1 messages are encoded exactly like those of v1alpha. Source:
grpc/grpc, doc/server-reflection.md.
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
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from google.protobuf.descriptor import FileDescriptor


class ReflectionError(ValueError):
    """The message is not a ServerReflectionRequest."""


class Files:
    """Descriptors of files by name, with what answers questions about them."""

    def __init__(self) -> None:
        self._pool = DescriptorPool()
        self._needs: dict[str, tuple[str, ...]] = {}
        self._files: dict[str, bytes] = {}

    def add(self, file: FileDescriptor) -> None:
        """Add a file and its imports."""
        if file.name in self._files:
            return
        for needed in file.dependencies:
            self.add(needed)
        proto = FileDescriptorProto()
        file.CopyToProto(proto)
        self.register(proto)

    def register(self, proto: FileDescriptorProto) -> None:
        """Add a file whose imports are there.

        Raises:
            TypeError: the file is not valid, or an import is missing.
        """
        self._files[proto.name] = proto.SerializeToString()
        self._needs[proto.name] = tuple(proto.dependency)
        self._pool.AddSerializedFile(self._files[proto.name])

    def fill(
        self, question: reflection_pb2.ServerReflectionRequest, answer: reflection_pb2.ServerReflectionResponse
    ) -> None:
        """Answer a question about a file, a symbol or extensions.

        Raises:
            KeyError: nothing of that name is here.
        """
        asked = question.WhichOneof("message_request")
        if asked == "file_by_filename":
            self._tell(question.file_by_filename, answer)
        elif asked == "file_containing_symbol":
            self._tell(self._file_of(question.file_containing_symbol), answer)
        elif asked == "all_extension_numbers_of_type":
            kind = self._pool.FindMessageTypeByName(question.all_extension_numbers_of_type)
            numbers = [extension.number for extension in self._pool.FindAllExtensions(kind)]
            answer.all_extension_numbers_response.base_type_name = kind.full_name
            answer.all_extension_numbers_response.extension_number.extend(numbers)
        else:
            wanted = question.file_containing_extension
            kind = self._pool.FindMessageTypeByName(wanted.containing_type)
            self._tell(self._file_of(self._pool.FindExtensionByNumber(kind, wanted.extension_number).full_name), answer)

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


class Reflection:
    """Answers reflection requests for a set of files, and for services of other servers.

    Args:
        files: descriptors of the files to serve; their imports and reflection's own file are added.
        services: full names of the services to list; the two reflection services are added.
        others: files of each further service by its full name, each behind its imports. They are kept apart, because
            two servers may have different files of one name.
    """

    def __init__(
        self,
        files: Iterable[FileDescriptor],
        services: Iterable[str],
        others: Mapping[str, tuple[bytes, ...]] | None = None,
    ) -> None:
        self._services = {*services, *REFLECTION}
        self._own = Files()
        for file in files:
            self._own.add(file)
        self._own.add(reflection_pb2.DESCRIPTOR)
        self._own.register(_renamed(reflection_pb2.DESCRIPTOR))
        self._others = others or {}
        self._opened: dict[str, Files] = {}

    def answer(self, message: bytes, may_see: Callable[[str], bool] = lambda _service: True) -> bytes:
        """Return the ServerReflectionResponse to one ServerReflectionRequest.

        Args:
            message: the request.
            may_see: whether the caller may know of one of the other services.

        Raises:
            ReflectionError: the message cannot be decoded.
        """
        try:
            question = reflection_pb2.ServerReflectionRequest.FromString(message)
        except DecodeError as error:
            raise ReflectionError("the message is not a ServerReflectionRequest") from error
        answer = reflection_pb2.ServerReflectionResponse(valid_host=question.host, original_request=question)
        seen = [name for name in self._others if may_see(name)]
        asked = question.WhichOneof("message_request")
        if asked is None:
            answer.error_response.error_code = Code.INVALID_ARGUMENT
            answer.error_response.error_message = "the request type is not known to this version of the protocol"
        elif asked == "list_services":
            for name in sorted({*self._services, *seen}):
                answer.list_services_response.service.add(name=name)
        elif not any(self._fills(files, question, answer) for files in self._each(seen, question)):
            answer.error_response.error_code = Code.NOT_FOUND
            answer.error_response.error_message = "no symbol or file of that name is served here"
        return bytes(answer.SerializeToString())

    def _each(self, seen: Sequence[str], question: reflection_pb2.ServerReflectionRequest) -> Iterator[Files]:
        """Yield edge's own files, then those of the services; first of the one that the question names."""
        symbol = question.file_containing_symbol
        yield self._own
        for name in sorted(seen, key=lambda name: symbol != name and not symbol.startswith(f"{name}.")):
            if name not in self._opened:
                self._opened[name] = opened(self._others[name])
            yield self._opened[name]

    @staticmethod
    def _fills(
        files: Files,
        question: reflection_pb2.ServerReflectionRequest,
        answer: reflection_pb2.ServerReflectionResponse,
    ) -> bool:
        try:
            files.fill(question, answer)
        except KeyError:
            return False
        return True


def opened(files: Iterable[bytes]) -> Files:
    """Return serialized files, each of which stands behind its imports.

    Raises:
        DecodeError: one is no file descriptor.
        TypeError: one is not valid, or an import is missing.
    """
    found = Files()
    for file in files:
        found.register(FileDescriptorProto.FromString(file))
    return found


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
