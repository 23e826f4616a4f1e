# Writes OTLP spans from cached encoded parts.  Types of the compiled module; the contract is in span_writer.pxd.

from collections.abc import Callable, Iterable
from types import ModuleType

from edge.terms.trace import ExchangeRecord

class SpanWriter:
    # Writes spans from records.

    def __init__(
        self,
        names: ModuleType,
        server: Callable[[ExchangeRecord], bytes],
        client: Callable[[ExchangeRecord, int], tuple[bytes, bytes, bytes, bool]],
        most: int = ...,
    ) -> None: ...
    def forget(self) -> None: ...
    def write(self, records: Iterable[ExchangeRecord]) -> bytes: ...
    @property
    def most(self) -> int: ...
    @property
    def held(self) -> int: ...
