# Scans the heads of HTTP/1.1 messages.  Types of the compiled module; the contract is in http1_head.pxd.

class HeadScanner:
    # Scans one head after another.

    def __init__(self, is_request: bool, head_limit: int, size_limit: int, count_limit: int) -> None: ...

METHODS: tuple[bytes, ...]

def scan_head(
    pieces: list[bytes], is_request: bool, head_limit: int = 81920, size_limit: int = 65536, count_limit: int = 100
) -> tuple[bytes, bytes, int, int, list[tuple[bytes, bytes]], int] | tuple[int, str] | None: ...
