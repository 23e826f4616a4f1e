# Makes the Head of a response.  Types of the compiled module; the contract is in response_head.pxd.

from native.codec.head import Head

def read_response(
    status: int, version: int, fields: list[tuple[bytes, bytes]], size_limit: int = 65536, count_limit: int = 100
) -> Head | tuple[int, str]: ...
