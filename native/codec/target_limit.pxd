"""The longest request target, over every version of HTTP."""

cdef enum:
    # A longer target is refused with 414 (RFC 9110 15.5.15); RFC 9110 4.1 asks for at least 8000 bytes.
    TARGET_LIMIT = 16384
