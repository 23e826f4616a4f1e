"""Holds a request for what a provider keeps under an id of its own: a response, a file, a batch."""

from libc.stdint cimport uint64_t
from native.http.connection_pool cimport ConnectionPool
from native.proxy.request cimport Refusal
from native.proxy.service_request cimport ServiceRequest

cdef class StoredRequest(ServiceRequest):
    cdef str dialect            # whose API it is: openai, anthropic or gemini
    cdef bytes path             # as that API writes it
    cdef bytes query            # with its question mark, without a key; b"" = none
    cdef bytes name             # the id that the path names; None = it names none
    cdef bytes content          # the body, if it was collected
    cdef bint collects          # the body is read before a target is asked, for the ids in it
    cdef bint lists             # the answer is a list, from which what is of other keys is left out
    cdef uint64_t owner         # the word of the key for which ids in the answer are issued
    cdef Refusal read_path(self)
    cdef Refusal read_query(self, list ids)
    cdef Refusal check_body(self)
    cdef Refusal find_place(self, list ids)     # decide who is asked
    cdef Refusal find_keeper(self, list ids)
    cdef Refusal choose_provider(self)          # ... if no id says so
    cdef bint permits(self, int index)          # the caller may use all that this member's provider keeps
    cdef Refusal narrow(self)                   # close the members that the caller may not use
    cdef bint creates(self)                     # a good answer issues an id
    cdef uint64_t others(self) # the members of another API, as bits
    cdef bytes here(self)       # the URL of edge as the client wrote it, without a path; None = it is not known
    cdef bytes target_path(self, ConnectionPool upstream)
