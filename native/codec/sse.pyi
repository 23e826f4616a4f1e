# What has this event stream said so far?  Types of the compiled module; the contract is in sse.pxd.

from enum import IntEnum

class Said(IntEnum):
    # Bits of ``Scanner.said`` and ``Scanner.fresh``.

    SAID_COMMENT = 1
    SAID_PREAMBLE = 2
    SAID_CONTENT = 4
    SAID_ERROR = 8
    SAID_FINISH = 16
    SAID_DONE = 32
    SAID_ERROR_FIRST = 64
    SAID_GARBAGE = 128

class Scanner:
    # Splits one event stream and remembers what was said. ``limit``: bytes of one event held back at most.

    def __init__(self, limit: int = 262144) -> None: ...
    def push(self, chunk: bytes) -> bytes: ...
    def tail(self) -> bytes: ...
    @property
    def limit(self) -> int: ...
    @property
    def said(self) -> int: ...
    @property
    def fresh(self) -> int: ...
    @property
    def error(self) -> bytes | None: ...
    @property
    def error_end(self) -> int: ...
    @property
    def prompt_tokens(self) -> int: ...
    @property
    def output_tokens(self) -> int: ...
    @property
    def events(self) -> int: ...
