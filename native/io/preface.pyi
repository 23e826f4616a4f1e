class Preface:
    is_complete: bool
    is_bad: bool
    fault: str | None
    source: tuple[str, int] | None
    is_secure: bool
