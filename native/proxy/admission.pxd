"""Admits a request by its head: finds out what it asks for, for whom, and which kind of request that makes it."""

from libc.stdint cimport uint64_t
from native.codec.head cimport Head
from native.http.stream cimport ServerStream
from native.proxy.request cimport Identity, Refusal, Request
from native.proxy.runtime cimport Runtime

# A request of the right kind; its ``refused`` says why, where it is refused.
cdef Request admit(Runtime runtime, ServerStream stream, Head head, uint64_t started_ns)
