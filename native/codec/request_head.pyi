# Makes the Head of a request.  Types of the compiled module; the contract is in request_head.pxd.

from native.codec.head import Head

def read_request(
    method: bytes,
    target: bytes,
    version: int,
    fields: list[tuple[bytes, bytes]],
    size_limit: int = 65536,
    count_limit: int = 100,
) -> Head | tuple[int, str]: ...
def read_http2_request(
    method: bytes | None,
    scheme: bytes | None,
    path: bytes | None,
    authority: bytes | None,
    fields: list[tuple[bytes, bytes]],
    ended: bool,
    size_limit: int = 65536,
    count_limit: int = 100,
) -> Head | tuple[int, str]: ...
