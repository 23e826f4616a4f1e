cdef void upload_blocked(UploadWatch* watch, Py_ssize_t untaken, uint64_t now_ns) noexcept nogil:
    watch.blocked_ns = watch.seen_ns = now_ns
    watch.untaken = untaken


cdef bint upload_stuck(UploadWatch* watch, Py_ssize_t untaken, uint64_t limit_ns, uint64_t now_ns, bint* moved) noexcept nogil:
    # New bytes in the queue may hide some of the progress, but never for long.
    moved[0] = untaken < watch.untaken
    watch.seen_ns = now_ns
    watch.untaken = untaken
    if moved[0]:
        watch.blocked_ns = now_ns
    return now_ns >= watch.blocked_ns + limit_ns
