"""Follows how much of one stream's answer a client has taken through the queue of its connection (sans-I/O).

The client acknowledges bytes of the connection, not of its streams. What a stream put into the queue between two looks is
taken to be spread evenly over what all streams did, so a single stream is followed exactly."""

from libc.stdint cimport int64_t

cdef struct Passage:            # begins with zeros
    int64_t first_written       # bytes of the connection that the client had taken at the earlier look
    int64_t first_pulled        # ... and of the stream
    int64_t written             # bytes of the connection that were in the queue, or through it, at the later look; 0 = none yet
    int64_t pulled              # ... and of the stream

# Return how many bytes of the stream the client has taken; never less than before. written: bytes that the connection has
# put into its queue in all; acked: of them taken by the client; pulled: of them the stream's.
cdef int64_t passed(Passage* passage, int64_t written, int64_t acked, int64_t pulled) noexcept
