"""Remembers which provider issued an id, and for which key, in memory that all processes of a node share.

A provider keeps what it has made under an id: a response, a file, a batch. Only it can be asked for it again. Ids are
kept as SHA-256, providers and keys as a word of theirs. The table is bounded: where it is full, the id that was not used
for longest in its bucket goes. There is no lock: a record that two processes write at once fails its check, and is
forgotten. When an id was last used is written alone, so that a known one is unknown at no moment."""

from libc.stdint cimport uint64_t

cdef struct Issued:
    uint64_t place          # word_of() the place that issued it
    uint64_t owner          # word_of() the name of the key that it was issued for; 0 = for none

# A word that stands for a name, never 0; names of one configuration do not share one. b"" has 0.
cdef uint64_t word_of(bytes name)
# The rank of a place in the order in which places are asked for an id that nobody remembers (rendezvous hashing).
cdef uint64_t rendezvous_rank(uint64_t seed, uint64_t place) noexcept nogil

cdef struct Header:
    uint64_t magic
    uint64_t layout
    uint64_t buckets
    uint64_t changes        # how often a record was written
    uint64_t objects        # ... of something else than a response

cdef struct Record:
    uint64_t low, high      # of the id's SHA-256
    uint64_t place, owner
    uint64_t used_s         # when it was last asked for, to the hour; Unix time
    uint64_t check          # of all words above but used_s; 0 = the record is free
    uint64_t[2] rest

cdef class IssuedIds:
    cdef Header* header
    cdef Record* records
    cdef size_t size
    cdef readonly int fd
    cdef bint owns_fd
    # Whether the id is remembered; if so, by whom it was issued. Times are Unix seconds.
    cdef bint find(self, bytes name, uint64_t now_s, Issued* out)
    cdef int put(self, bytes name, uint64_t place, uint64_t owner, bint is_object, uint64_t now_s) except -1
    cdef bint knows_objects(self) noexcept      # an id of something else than a response was remembered
    cdef void _write(self, const Record* record) noexcept nogil
    cdef Record* _bucket(self, uint64_t low) noexcept nogil
    cdef Py_ssize_t _copy(self, uint64_t first, uint64_t end, char* out) noexcept nogil
