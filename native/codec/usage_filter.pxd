"""Hides the usage that edge asked for, and its client did not, in the events of a stream (sans-I/O).

An event that carries usage and no choices is dropped; in another event the usage becomes null."""

# Returns whole events without their usage; ``events`` itself if they have none.
cdef bytes hide_usage(bytes events)
