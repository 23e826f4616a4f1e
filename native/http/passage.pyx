cdef int64_t passed(Passage* passage, int64_t written, int64_t acked, int64_t pulled) noexcept:
    if passage.written == 0:
        # what waits now may be the stream's own
        passage.first_written = acked
        passage.first_pulled = pulled - (written - acked)
    elif acked >= passage.written:
        passage.first_written = passage.written
        passage.first_pulled = passage.pulled
    if acked >= passage.written:
        passage.written = written
        passage.pulled = pulled
    if passage.written <= passage.first_written:
        return passage.pulled
    return passage.first_pulled + (passage.pulled - passage.first_pulled) * (acked - passage.first_written) // (
        passage.written - passage.first_written
    )


def passed_at(list looks not None):
    """Return what a new Passage answers to these looks, each (written, acked, pulled)."""
    cdef Passage passage
    passage.first_written = passage.first_pulled = passage.written = passage.pulled = 0
    return [passed(&passage, written, acked, pulled) for written, acked, pulled in looks]
