"""Fingerprints the turns of a conversation while a request is peeked at, so that its next request is recognized.

A turn's fingerprint covers its texts, not how they are written: marks of prompt caches move from turn to turn, and with
them clients write a text as a block or as a bare string. Of a long text the beginning, the middle and the end of its
first 2 KiB count. The chain after a turn depends on all turns up to it. Borrows the buffer and allocates nothing."""

from libc.stdint cimport int64_t, uint64_t
from native.codec.json_walk cimport Text

cdef enum:
    LATEST = 16             # turns whose chain is kept: more are not added from one request to the next
    NOTED_SIZES = 1 << 5 | 1 << 6 | 1 << 12 | 1 << 13 | 1 << 16 | 1 << 17 | 1 << 18 | 1 << 20 | 1 << 22

cdef struct Turns:          # of one request
    uint64_t fixed          # of what stands beside the turns: the system prompt, prompt_cache_key
    uint64_t named          # of the answer or conversation that the request goes on with by its name; 0 = of none
    uint64_t chain          # after the last turn
    uint64_t[LATEST] latest # ... and after each of the latest, at (number of the turn - 1) % LATEST
    int64_t count
    bint answered           # one of them is not the client's own: the conversation has begun
    int keep_s              # how long the provider is asked to keep the prompt, in seconds
    Py_ssize_t start, end   # of the turns in the body; 0 = it has none
    Py_ssize_t fixed_start, fixed_end   # of the system prompt

cdef void begin_turns(Turns* turns) noexcept nogil
# Adds the turn whose JSON is from p to after.
cdef void note_turn(Turns* turns, const char* p, const char* after) noexcept nogil
# Reads another member of the request, whose value is from p to after. start: of the body.
cdef void note_member(
    Turns* turns, const Text* key, const char* start, const char* p, const char* after
) noexcept nogil
# Whether a name is as long as one that note_member() knows: most are not.
cdef inline bint may_note(const Text* key) noexcept nogil:
    return 0 <= key.size < 32 and <int>NOTED_SIZES >> key.size & 1
# The fingerprint of a name, such as that of an answer; never 0.
cdef uint64_t name_mark(const char* name, Py_ssize_t size) noexcept nogil
# The fingerprint of bytes that follow what ``before`` is the fingerprint of.
cdef uint64_t bytes_mark(const char* p, Py_ssize_t size, uint64_t before) noexcept nogil
# A fingerprint of two.
cdef uint64_t both(uint64_t first, uint64_t second) noexcept nogil
