# Reads the options of a model request.  Types of the compiled module; the contract is in request_peek.pxd.

from enum import IntEnum
from typing import final

class PeekError(IntEnum):
    # Why a request body is refused.

    PEEK_OK = 0
    PEEK_MALFORMED = 1
    PEEK_NOT_OBJECT = 2
    PEEK_DUPLICATE = 3
    PEEK_TYPE = 4
    PEEK_DEPTH = 5
    PEEK_LONG_NAME = 6

@final
class Peeked:
    # The result of ``read_request``. Offsets are bytes into the body; ``model`` is decoded, None if absent.

    @property
    def error(self) -> int: ...
    @property
    def error_at(self) -> int: ...
    @property
    def model(self) -> str | None: ...
    @property
    def model_start(self) -> int: ...
    @property
    def model_end(self) -> int: ...
    @property
    def stream(self) -> bool: ...
    @property
    def include_usage(self) -> bool: ...
    @property
    def max_tokens(self) -> int | None: ...
    @property
    def choices(self) -> int: ...

def read_request(data: bytes) -> Peeked: ...
def ask_usage(body: bytes) -> bytes: ...
def read_turns(
    body: bytes,
) -> tuple[int, int, int, list[int], bool, int, tuple[int, int], tuple[int, int]]: ...
