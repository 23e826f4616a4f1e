# Signs requests to AWS with Signature Version 4 (no I/O). The contract is in sigv4.pxd.

class Signer:
    # Signs requests for one region and service with one pair of keys.

    def __init__(
        self,
        region: str,
        service: str,
        access: str = "",
        secret: str = "",
        session: str = "",
        expires_s: int = 0,
        more: tuple[bytes, ...] = (),
    ) -> None: ...
    def why_not(self, now_s: int) -> str | None: ...
    def signed(
        self,
        method: bytes,
        target: bytes,
        authority: bytes,
        fields: list[tuple[bytes, bytes]],
        body: bytes,
        now_s: int,
    ) -> list[tuple[bytes, bytes]]: ...
    @property
    def region(self) -> str: ...
    @property
    def service(self) -> str: ...
    @property
    def expires_s(self) -> int: ...

def read_error(fields: list[tuple[bytes, bytes]], content: bytes) -> str | None: ...
