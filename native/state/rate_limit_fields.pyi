# Writes the x-ratelimit-* fields of a response.  Types of the compiled module; see rate_limit_fields.pxd.

from native.state.allowance import Allowance, AllowancePlan

class BucketFields:
    # The fields of one bucket; ``per_minute`` is None if the limit is this node's share, which changes.

    def __init__(self, unit: bytes, per_minute: int | None) -> None: ...

class RateLimitFields:
    # The fields of one caller.

    def __init__(self, allowance: Allowance, plan: AllowancePlan) -> None: ...
