"""What all processes of a node know together: shared memory, windows, buckets, allowances and callers."""
