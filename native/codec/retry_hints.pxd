"""Tells whether the header fields of an answer may ask to wait; most need no parser of dates (sans-I/O)."""

# Whether edge.providers.retry_after may find a time to wait in these fields; False is certain. ``fields`` are
# (lower-case name, value) pairs, which are borrowed.
cdef bint may_ask_to_wait(list fields) noexcept
