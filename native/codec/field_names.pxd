"""Holds the names of common fields as objects that are made once, and what those that frame a message mean.

An unknown name is created on each use: nothing that a client sends is remembered."""

cdef enum Field:
    PLAIN = 0
    HOST = 1
    CONTENT_LENGTH = 2
    TRANSFER_ENCODING = 3
    CONNECTION = 4
    HOP = 5
    EXPECT = 6
    CONTENT_TYPE = 7
    CONTENT_ENCODING = 8
    UPGRADE = 9
    PROXY_CONNECTION = 10
    TRAILER = 11

# What may be asked of a name quickly (is_clear): sets of names that are marked once, at import.
cdef enum Mark:
    NOT_FOR_PROVIDERS = 1
    NOT_FOR_CLIENTS = 2
    NOT_FOR_SERVICES = 4        # as they are: who asks, deadlines, traces, credentials

cdef struct KnownName:
    void* name      # bytes, lower case; borrowed, and never freed
    Field kind

# The entry of a name in any case; NULL = not known. Borrowed. The name has no control character.
cdef const KnownName* find_name(const char* name, Py_ssize_t size) noexcept
cdef tuple known_names()                                    # all of them
cdef mark_names(object names, Mark mark)                    # those of them that are known; others are never clear
# Whether this object is the one that is kept for its name, and the name has not this mark. False says nothing: the name
# may be unknown, or another object.
cdef bint is_clear(bytes name, Mark mark) noexcept
cdef bytes kept_name(bytes name)                           # the object of a name that is known; names in parsed heads are it
cdef bytes lower_name(const char* name, Py_ssize_t size)    # a copy in lower case; every byte is a token's
cdef Field field_kind(bytes name) noexcept                  # of a name in lower case
