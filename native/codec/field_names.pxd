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

cdef struct KnownName:
    void* name      # bytes, lower case; borrowed, and never freed
    Field kind

# The entry of a name in any case; NULL = not known. Borrowed. The name has no control character.
cdef const KnownName* find_name(const char* name, Py_ssize_t size) noexcept
cdef bytes kept_name(bytes name)                           # the object of a name that is known; names in parsed heads are it
cdef bytes lower_name(const char* name, Py_ssize_t size)    # a copy in lower case; every byte is a token's
cdef Field field_kind(bytes name) noexcept                  # of a name in lower case
