# Collects the fields of one message head.  Types of the compiled module; the contract is in head_reader.pxd.

class HeadReader:
    # Collects the fields of one head.

    def __init__(self, size_limit: int, count_limit: int) -> None: ...
    @property
    def fault(self) -> str | None: ...
    @property
    def fault_status(self) -> int: ...
