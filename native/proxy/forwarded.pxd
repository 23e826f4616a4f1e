"""Builds the fields that tell an upstream from whom a request comes: X-Forwarded-*, Via, and what is kept of a query."""

cdef enum Claim:                # what a client's field says about who asks, and how it came here
    NO_CLAIM = 0
    FORWARDED = 1               # RFC 7239
    FORWARDED_FOR = 2
    FORWARDED_HOST = 3
    FORWARDED_PROTO = 4
    FORWARDED_MORE = 5          # X-Forwarded-Port, -Prefix and others: only a proxy in front knows
    EDGES_OWN = 6               # X-Real-IP and x-edge-*, which nobody in front of edge sets for a service

cdef int claim_of(bytes name) noexcept          # a Claim; x-edge-require is none
cdef bytes forwarded_element(bytes address, bytes scheme, bytes authority)     # of Forwarded (RFC 7239 4)
cdef tuple PROTO_FIELDS         # x-forwarded-proto by "it came over TLS"
cdef tuple VIA_FIELDS           # via by HTTP/1.0, 1.1, 2 (RFC 9110 7.6.3)
cdef tuple address_field(object peer)       # x-forwarded-for, from the peer's (address, port)
cdef tuple host_field(bytes authority)      # x-forwarded-host
# The path of Azure's for one of OpenAI's behind /v1: with the model as the deployment, where it belongs to one.
cdef bytes versioned_path(bytes path, bytes model, bytes version)
# Return the part of a query that a provider may see: Azure's api-version, with the question mark; b"" = nothing.
cdef bytes kept_query(bytes query)
# The fields for a target of this dialect; translated: it is not the client's, and the client's own are left out. A new
# list, or the same one with Anthropic's version added.
cdef list fields_of_dialect(list fields, str dialect, bint translated)
cdef bint is_sse(bytes target)      # the query asks for server-sent events (alt=sse)
