"""Decides whether a web page may use a listener, and lets the pages that may read their answers (CORS)."""

from native.codec.head cimport Head
from native.http.listen_policy cimport ListenPolicy
from native.proxy.request cimport Refusal

cdef class PageVerdict:
    """What a listener concludes from Host and Origin of one request."""
    cdef Refusal refused        # None = the request may go on
    cdef list fields            # of the answer, so that the page may read it; None = no page of ``cors`` asks
    cdef bint is_preflight      # the browser asks whether the page may send its request: answered before keys

# ``keyless``: no key is required of this request. ``hosts``: those of services.
cdef PageVerdict judge_page(ListenPolicy policy, Head head, bint keyless, dict hosts)
