"""State that all processes of a node share: the shared memory, windows, buckets, allowances and callers."""
