"""Builds the fields that tell an upstream from whom a request comes: X-Forwarded-*, Via, and what is kept of a query."""

cdef tuple PROTO_FIELDS         # x-forwarded-proto by "it came over TLS"
cdef tuple VIA_FIELDS           # via by HTTP/1.0, 1.1, 2 (RFC 9110 7.6.3)
cdef tuple address_field(object peer)       # x-forwarded-for, from the peer's (address, port)
cdef tuple host_field(bytes authority)      # x-forwarded-host
# Return the part of a query that a provider may see: Azure's api-version, with the question mark; b"" = nothing.
cdef bytes kept_query(bytes query)
