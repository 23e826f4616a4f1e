"""Copies a share of a route's requests to another target, for which the answers are read, compared and dropped.

A copy is an exchange of its own, on a route and a target of its own: its failures and times count in no record that
choices for callers go by. It has no caller, so that no key pays for it. Its client is a ShadowStream. It begins in the
tick after its original has been sent, so that the caller's request never waits for it."""

from libc.stdint cimport int64_t, uint64_t
from native.http.stream cimport ServerStream
from native.proxy.attempt cimport Attempt
from native.proxy.request cimport Request
from native.proxy.router cimport Route
from native.proxy.runtime cimport Runtime

cdef class ShadowStream(ServerStream):
    """Drops an answer."""
    cdef Runtime runtime
    cdef int64_t bytes_in       # of the answer

cdef class ShadowCopy:
    """A copy and its original, until both are over."""
    cdef Route route            # that the copy takes
    cdef Request request        # the copy
    cdef int over               # 1: the original, 2: the copy, 3: both
    cdef int[2] status, grpc_status     # [original, copy], and the same for the following
    cdef uint64_t[2] first_us, total_us
    cdef uint64_t[2] output_tokens
    # The original (0) or the copy (1) is over. status: as for native.proxy.exchange_record.record. last: the attempt
    # that has answered; None = there is none.
    cdef int end(self, int side, int status, int grpc_status, Attempt last, uint64_t output_tokens, uint64_t now) except -1
    cdef int compare(self) except -1

# Draw whether a request is copied, and make the copy, which is kept in Runtime.copies until it begins. None = it is not.
cdef ShadowCopy copy_of(Request request)
# The same for a request of which the end has come while it was answered.
cdef bint is_due(Request request) noexcept
# Give the copy of a request its deadlines, because it begins now.
cdef int start_copy(ShadowCopy copy, uint64_t now) except -1
