"""Signs requests to AWS with Signature Version 4 (no I/O).

The rules are those of "Signature Version 4 signing process" in AWS's general reference. A signature covers the method, the
path, the query, some fields and the whole body, and counts for about five minutes, so each attempt gets its own."""

from libc.stdint cimport int64_t, uint64_t

cdef class Signer:
    """Signs requests for one region and service with one pair of keys. It never shows its keys."""
    cdef readonly str region, service
    cdef readonly int64_t expires_s     # Unix time of the keys' end; 0 = they have none
    cdef bytes access                   # the access key's id; empty = there are no keys
    cdef bytes secret, session          # session: b"" = the keys are not temporary
    cdef bytes scope                    # "/REGION/SERVICE/aws4_request"
    cdef tuple names                    # of the fields that are signed if they are there, sorted
    cdef bint is_s3                     # the path is encoded once, and the body's hash is sent along
    cdef int64_t day                    # since 1970, to which ``key`` belongs; -1 = none
    cdef unsigned char[32] key
    # Return why nothing can be signed now; None = it can.
    cdef str objection(self, uint64_t now_s)
    # Return the fields of a request with those that sign it. target: path and query as they are sent. A caller's
    # own x-amz-* fields are left out: they would speak for the signature. Copies: the body is read, not kept.
    cdef list sign(self, bytes method, bytes target, bytes authority, list fields, bytes body, uint64_t now_s)
    cdef int derive(self, int64_t day, const char* date) except -1

cdef enum KeyFault:             # of whom an error of AWS speaks
    NO_KEY_FAULT = 0
    KEYS_REFUSED = 1            # of the keys, of the signature or of the clock: whatever the caller has asked for
    NOT_PERMITTED = 2           # of what the identity behind the keys may do

# Return AWS's code of an error, and what it means for the keys; None = the answer has none.
cdef str error_of(list fields, bytes content)
cdef int key_fault(list fields)         # a KeyFault, by AWS's code
