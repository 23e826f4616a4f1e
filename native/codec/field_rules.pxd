"""Checks targets and hosts: a value is forwarded only if every reader interprets it in the same way.

Rules: RFC 9110 7.2, RFC 9112 3.2 and 5, RFC 3986 3 and 6.2.2."""

cdef bytes field_value(list fields, bytes name)     # the first value, or None; names are lower case
cdef bint sound_target(bytes value) noexcept        # visible ASCII without a fragment
cdef bint sound_host(bytes value) noexcept          # reg-name, IPv4 or bracketed IPv6, with an optional port
cdef bytes host_of(bytes authority)                 # lower case, without the port and a final dot
