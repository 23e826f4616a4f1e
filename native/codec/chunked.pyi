# Decodes chunked bodies.  Types of the compiled module; the contract is in chunked.pxd.

def decode_body(
    pieces: list[bytes], overhead_limit: int = 65536, trailer_limit: int = 65536, per_chunk: bool = False
) -> tuple[bytes, bool, int, str | None]: ...
