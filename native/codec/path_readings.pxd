"""Tells how a path is matched, and as what else other servers may read it.

Servers disagree about encoded separators, parameters, dot segments and empty segments (RFC 3986 2.2, 3.3, 5.2.4, 6.2.2).
A path is forwarded as it is written; what its readings would lead to is the router's to judge."""

cdef enum Reading:              # what a reader does with a path; readers do several of these
    DECODES_SLASH = 1           # %2F separates segments
    READS_BACKSLASH = 2         # a backslash, also as %5C, separates segments
    DROPS_PARAMETERS = 4        # a segment ends at its first semicolon, before anything is decoded
    DROPS_DECODED = 8           # ... after everything is decoded
    RESOLVES_DOTS = 16
    DROPS_EMPTY = 32            # empty segments, before dot segments are resolved
    DROPS_EMPTY_LAST = 64       # ... after

cdef enum:
    LONGEST_READ = 8192         # bytes; servers refuse longer paths, and all readings of a longer one would cost too much

cdef bint is_plain(bytes path) noexcept     # every server reads it in the same way, as it is written
cdef bytes decode_path(bytes path)          # every %XX decoded, separators aside: what a service is matched by
cdef list other_readings(bytes path)        # of a path of at most LONGEST_READ bytes, without duplicates
