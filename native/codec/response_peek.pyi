# Reads the error and the usage of a complete response.  Types of the compiled module; the contract is in
# response_peek.pxd.

from typing import final

@final
class PeekedResponse:
    # The result of ``read_response``. Token counts are None if absent.

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
