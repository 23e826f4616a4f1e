# Finds the bucket of a duration in the histograms of the shared block.

HIST_BOUNDS_S: tuple[float, ...]

def bucket_of(us: int) -> int: ...
