# Is this message head sound, and what of it may go on?  Types of the compiled module; the contract is in headers.pxd.

from native.codec.head import Head

class HeadReader:
    # Collects the fields of one head after another.

    def __init__(self, size_limit: int, count_limit: int) -> None: ...
    @property
    def fault(self) -> str | None: ...
    @property
    def fault_status(self) -> int: ...

def read_request(
    method: bytes,
    target: bytes,
    version: int,
    fields: list[tuple[bytes, bytes]],
    size_limit: int = 65536,
    count_limit: int = 100,
) -> Head | tuple[int, str]: ...
def read_answer(
    status: int, version: int, fields: list[tuple[bytes, bytes]], size_limit: int = 65536, count_limit: int = 100
) -> Head | tuple[int, str]: ...
def read_request2(
    method: bytes | None,
    scheme: bytes | None,
    path: bytes | None,
    authority: bytes | None,
    fields: list[tuple[bytes, bytes]],
    ended: bool,
    size_limit: int = 65536,
    count_limit: int = 100,
) -> Head | tuple[int, str]: ...
def seconds_ns(value: bytes) -> int: ...
def seconds_of(ns: int) -> bytes: ...
def is_plain_path(path: bytes) -> bool: ...
def write_message_head(first_line: bytes, fields: list[tuple[bytes, bytes]], last: bytes = b"") -> bytes: ...
