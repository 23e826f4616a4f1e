"""Builds the fields that tell an upstream from whom a request comes: X-Forwarded-*, Via, and what is kept of a query."""

cdef tuple PROTO_FIELDS         # x-forwarded-proto by "it came over TLS"
cdef tuple VIA_FIELDS           # via by HTTP/1.0, 1.1, 2 (RFC 9110 7.6.3)
cdef tuple address_field(object peer)       # x-forwarded-for of a socket's name
cdef tuple host_field(bytes authority)      # x-forwarded-host
# What a provider may read of a caller's query: Azure's api-version, with its question mark; b"" = nothing.
cdef bytes kept_query(bytes query)
