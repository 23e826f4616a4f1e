from native.proxy.request cimport Refusal, Request


# Excludes the members of the route that do not meet the fields x-edge-require; a refusal if they cannot be read.
cdef Refusal require(Request request)
# Excludes them again after the ids of the request have excluded others; a refusal if nobody is left.
cdef Refusal require_one(Request request)
