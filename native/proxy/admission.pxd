"""Admits a request by its head: finds its operation and its caller, and makes a Request of the right kind."""

from libc.stdint cimport uint64_t
from native.codec.head cimport Head
from native.http.stream cimport ServerStream
from native.proxy.request cimport Identity, Refusal, Request
from native.proxy.runtime cimport Runtime

# Return the Request. If it is refused, its ``refused`` says why.
# Find the caller; return why there is none. The identity is new, with its numbers set.
cdef Refusal identify(Runtime runtime, ServerStream stream, Head head, int operation, uint64_t now_ns, Identity who)
cdef Request admit(Runtime runtime, ServerStream stream, Head head, uint64_t started_ns)
