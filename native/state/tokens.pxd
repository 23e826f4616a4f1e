"""Keeps the tokens of callers that a worker has verified, by a keyed hash, until they expire.

No token is kept in the clear. The key of the hash is random, and a worker's own. Both tables are bounded, and what entered first leaves first."""

from libc.stdint cimport uint64_t

cdef enum:
    LONGEST_TOKEN = 8192        # bytes; a longer token is refused without being read

cdef class Token:
    """What a verified token says."""
    cdef str name               # of the caller
    cdef tuple groups
    cdef str otherwise          # the name of the key that is for it, if none is for its name or groups; "" = none
    cdef object proof           # why it is believed: the verifier is asked again after each new Snapshot
    cdef uint64_t expires_ns
    cdef uint64_t serial        # of the Callers that ``caller`` belongs to
    cdef object caller          # native.state.callers.Caller; None = no key is for it

cdef class Tokens:
    """The verified tokens of one worker, and those that were refused lately."""
    cdef readonly object verifier       # native.proxy.hooks.TokenVerifier
    cdef bytes secret           # the key of the hash
    cdef dict verified          # digest -> Token
    cdef dict refused           # digest -> (until when, native.proxy.hooks.RefusedToken)
    cdef Py_ssize_t most        # verified tokens
    cdef object why             # the RefusedToken of the last verify() that returned None
    cdef bytes digest(self, const char* p, Py_ssize_t size)     # of at most LONGEST_TOKEN bytes
    # The token of this digest, if it was verified and has not expired; else None.
    cdef Token find(self, bytes digest, uint64_t now_ns)
    # Verify a token that find() does not know; None = it is refused, see ``why``. peer: the client's (host, port).
    cdef Token verify(self, bytes digest, bytes token, uint64_t now_ns, object peer)
    cdef bint holds(self, bytes digest, Token token)        # it is still believed; if not, it is forgotten
