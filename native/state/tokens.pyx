from os import urandom

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t

cdef extern from "native/state/token_hash.h" nogil:
    enum: EDGE_TOKEN_HASH_SIZE
    void edge_token_hash(const void* data, size_t size, const uint64_t* key, unsigned char* out)

# Refused tokens that are remembered, so that the same one is not verified again and again.
cdef Py_ssize_t MOST_REFUSED = 4096


def token_hash(bytes data not None, bytes key not None):
    """Return the keyed hash of ``data``, 40 bytes; ``key`` has 31 bytes more than ``data`` at least.

    Raises ValueError for a shorter key.
    """
    cdef unsigned char[EDGE_TOKEN_HASH_SIZE] out
    if PyBytes_GET_SIZE(key) < PyBytes_GET_SIZE(data) + 31:
        raise ValueError(f"a key of {len(key)} bytes is too short for {len(data)} bytes")
    edge_token_hash(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), <const uint64_t*>PyBytes_AS_STRING(key), out)
    return PyBytes_FromStringAndSize(<char*>out, EDGE_TOKEN_HASH_SIZE)


cdef class Token:
    def __repr__(self):
        return f"<Token of {self.name}>"


cdef class Tokens:
    """The verified tokens of one worker.

    Args:
        verifier: verifies a token once, see native.proxy.hooks.TokenVerifier.
        most: tokens that are kept. When there are more, the one that was verified first is verified again.
    """

    def __init__(self, verifier not None, Py_ssize_t most=16384):
        self.verifier = verifier
        self.most = most
        self.secret = urandom(LONGEST_TOKEN + 32)
        self.verified = {}
        self.refused = {}

    def __len__(self):
        return len(self.verified)

    def forget_refused(self):
        """Verify again what was refused: the verifier has learned of other issuers or keys."""
        self.refused.clear()

    cdef bytes digest(self, const char* p, Py_ssize_t size):
        cdef unsigned char[EDGE_TOKEN_HASH_SIZE] out
        edge_token_hash(p, size, <const uint64_t*>PyBytes_AS_STRING(self.secret), out)
        return PyBytes_FromStringAndSize(<char*>out, EDGE_TOKEN_HASH_SIZE)

    cdef Token find(self, bytes digest, uint64_t now_ns):
        cdef Token token = <Token>self.verified.get(digest)
        if token is None:
            return None
        if now_ns >= token.expires_ns:
            del self.verified[digest]
            return None
        return token

    cdef Token verify(self, bytes digest, bytes token, uint64_t now_ns, object peer):
        cdef Token made
        before = self.refused.get(digest)
        if before is not None:
            if now_ns < <uint64_t>before[0]:
                self.why = before[1]
                return None
            del self.refused[digest]
        verdict = self.verifier.verify(token, peer, now_ns)
        if not verdict.accepted:
            self.why = verdict
            if verdict.keep_ns > 0:
                self.refused[digest] = (now_ns + <uint64_t>verdict.keep_ns, verdict)
                shrink(self.refused, MOST_REFUSED)
            return None
        made = Token.__new__(Token)
        made.name = verdict.name
        made.groups = verdict.groups
        made.otherwise = verdict.otherwise
        made.proof = verdict.proof
        made.expires_ns = now_ns + <uint64_t>verdict.lifetime_ns
        self.verified[digest] = made
        shrink(self.verified, self.most)
        return made

    cdef bint holds(self, bytes digest, Token token):
        if self.verifier.holds(token.proof):
            return True
        self.verified.pop(digest, None)
        return False


cdef int shrink(dict table, Py_ssize_t most) except -1:
    """Drop what entered first while there is too much: a dict keeps the order of insertion."""
    while len(table) > most:
        del table[next(iter(table))]
