"""Finds out who issued the ids that a request names, and remembers those that an answer names."""

from libc.stdint cimport uint64_t
from native.proxy.request cimport Refusal, Request
from native.state.issued_ids cimport Issued, IssuedIds

cdef enum Found:
    FOUND_NONE = 0          # the request names no id
    FOUND_UNKNOWN = 1       # nobody remembers its ids
    FOUND_OWN = 2           # one was issued for the caller's key
    FOUND_COMMON = 3        # ... for no key

# The word of the key for which a request is made; 0 = for none.
cdef uint64_t owner_of(Request request)
# The word of the key that has begun an upload of this id (None = no upload); 0 = nobody remembers it.
cdef uint64_t owner_of_session(IssuedIds table, bytes name)
# Leave open only the members that issued the ids (bytes) of a request whose route is known, and set what it seeks.
# ``found`` receives a Found, ``issued`` what is remembered. Returns None, or why the request is refused: an id was
# issued for another key, by several providers, or by one that is no target.
cdef Refusal seek_issuer(Request request, list ids, int* found, Issued* issued)
# Ask each member once for an id that nobody remembers.
cdef int search_everywhere(Request request, bytes name) except -1
# Remember ids (bytes) that the answer of a member has issued for ``owner``. fields: of that answer, if another region's
# edge gave it, else None. objects: they are of something else than responses.
cdef int remember(Request request, int index, list fields, list ids, uint64_t owner, bint objects) except -1
