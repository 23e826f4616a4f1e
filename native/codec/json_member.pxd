"""Finds the text of one member in a JSON object (sans-I/O)."""

# The text of the string member ``name`` of the object, or with ``outer`` of the object that this member holds; as it is
# written, without its quotes. None = there is none, or it is no JSON from ``start`` on. What follows the value is not read.
cdef bytes member_text(bytes content, Py_ssize_t start, bytes outer, bytes name)
# The id of the response that an event stream begins with; None = its first events name none.
cdef bytes response_of_events(bytes events)
