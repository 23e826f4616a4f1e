"""Admits a request by its head: finds its operation and its caller, and makes a Request of the right kind."""

from libc.stdint cimport uint64_t
from native.codec.head cimport Head
from native.http.stream cimport ServerStream
from native.proxy.request cimport Identity, Refusal, Request
from native.proxy.runtime cimport Runtime

# Return the Request. If it is refused, its ``refused`` says why.
cdef Request admit(Runtime runtime, ServerStream stream, Head head, uint64_t started_ns)
