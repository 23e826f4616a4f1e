from collections.abc import Sequence

from native.io.preface import Preface

class ConnectAnswer(Preface):
    def __init__(self, authority: bytes, authorization: bytes | None) -> None: ...

def read_connect_answer(
    data: Sequence[bytes], authorization: bytes | None = None
) -> tuple[bytes, int, bool, str | None]: ...
