# Reads what a whole response says.  Types of the compiled module; the contract is in response_peek.pxd.

from typing import final

@final
class PeekedResponse:
    # What ``read_response`` found. Token counts are None if absent.

    @property
    def valid(self) -> bool: ...
    @property
    def is_object(self) -> bool: ...
    @property
    def has_error(self) -> bool: ...
    @property
    def prompt_tokens(self) -> int | None: ...
    @property
    def output_tokens(self) -> int | None: ...

def read_response(data: bytes) -> PeekedResponse: ...
