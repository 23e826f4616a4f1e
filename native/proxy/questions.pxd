"""Remembers the names of questions that were asked before in the same bytes."""

cdef class Questions:
    """The questions of one worker by a keyed hash of how they were asked, so that a repeated body is not parsed again."""
    cdef object cache       # native.proxy.hooks.Cache, which names a question
    cdef bytes secret       # the key of the hash
    cdef dict names         # hash -> name, or None: the answer is never kept
    cdef Py_ssize_t most
    # Return the name of a question, or None. ``scope``: who may share its answer, as UTF-8 or Latin-1.
    cdef bytes name(self, bytes scope, bytes path, bytes content)
