"""Keeps whole answers in memory that all processes of a node share, and knows which questions are being asked.

The block has three parts. The ring holds records one behind the other; a new record overwrites the oldest, so that memory
is bounded by construction. The index finds a record by its question. The table of flights has a word for each question
that a worker is asking a target at the moment.

There is no lock, so that a worker that is killed blocks nobody. A writer claims its part of the ring before it writes, and
publishes the record in the index when it is complete. A reader copies the record and then checks that no writer has
claimed its part in the meantime; a checksum catches a writer that was overtaken by a whole round of the ring while it
wrote. A record that is read while it is in the older half of the ring is written again, which makes the order of
eviction close to least recently used.
"""

import fcntl
import os

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport ESRCH, errno
from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset
from native.io.atomics cimport cas64, load64, store64

cdef extern from "<sys/mman.h>" nogil:
    void* mmap(void* address, size_t size, int protection, int flags, int fd, long offset)
    int munmap(void* address, size_t size)
    const int PROT_READ
    const int PROT_WRITE
    const int MAP_SHARED
    void* MAP_FAILED
cdef extern from "<signal.h>" nogil:
    int kill(int pid, int number)
cdef extern from "<unistd.h>" nogil:
    int close(int fd)

cdef struct Header:
    uint64_t magic
    uint64_t layout
    uint64_t capacity           # bytes of the ring
    uint64_t slots              # of the index, a power of two
    uint64_t head               # where the next record goes; it only grows

cdef struct Slot:
    uint64_t tag                # the first bytes of the question; 0 = never used
    uint64_t place              # of the record; 0 = none

cdef struct Record:
    uint64_t place              # its own, so that a reader knows whether it reads a record or the middle of another
    unsigned char[32] question
    uint64_t size               # bytes of content that follow
    uint64_t stored_ns          # monotonic: when the answer came
    uint64_t until_ns           # monotonic: it is of no use afterwards
    uint64_t checksum

# An entry as it stands in a record: EntryHead | FieldSizes of each field | target | names and values | content.
cdef struct EntryHead:
    uint32_t status, fields, target_size

cdef struct FieldSizes:
    uint32_t name, value

cdef uint64_t MIXER = 0x9e3779b97f4a7c15       # odd, with bits well spread
cdef uint64_t MAGIC = 0x6564676561736b31        # "edgeask1"
cdef uint64_t LAYOUT = 3
cdef uint64_t PAGE = 4096
cdef uint64_t FLIGHTS = 1024
cdef uint64_t WAYS = 8              # slots that a question may stand in
cdef uint64_t PROBES = 8            # words that a flight may stand in
cdef uint64_t BYTES_PER_SLOT = 512  # of the ring: with smaller answers the index is full before the ring is
cdef uint64_t LARGEST_SHARE = 8     # a record takes at most this part of the ring
# A flight's word: tag (32) | generation (10) | process id (22, as far as Linux counts).
cdef uint64_t PID_BITS = 22
cdef uint64_t PID_MASK = (1 << 22) - 1
cdef uint64_t GENERATION_MASK = 1023


cdef uint64_t checksum_of(const char* p, uint64_t size) noexcept nogil:
    """Return a checksum by words: enough to see that a record was overwritten, no protection against forgery."""
    cdef uint64_t total = size, word = 0
    while size >= 8:
        memcpy(&word, p, 8)
        total = (total ^ word) * MIXER
        total ^= total >> 29
        p += 8
        size -= 8
    word = 0
    memcpy(&word, p, size)
    total = (total ^ word) * MIXER
    return total ^ total >> 29


cdef uint64_t slots_for(uint64_t capacity) noexcept:
    cdef uint64_t slots = WAYS
    while slots * BYTES_PER_SLOT < capacity:
        slots *= 2
    return slots


cdef uint64_t block_size(uint64_t capacity, uint64_t slots) noexcept:
    return PAGE + FLIGHTS * sizeof(uint64_t) + slots * sizeof(Slot) + capacity


cdef inline uint64_t tag_of(const unsigned char* question) noexcept nogil:
    cdef uint64_t tag = 0
    memcpy(&tag, question, sizeof(tag))
    return tag if tag else 1


cdef class CacheEntry:
    def __init__(self, int status, list fields not None, bytes target not None, bytes content not None, uint64_t age_ns=0):
        self.status = status
        self.fields = fields
        self.target = target
        self.content = content
        self.age_ns = age_ns

    def __repr__(self):
        return f"<CacheEntry {self.status} of {len(self.content)} bytes>"


cdef bytes write_entry(CacheEntry entry):
    """Return an entry as it stands in a record; its age does not."""
    cdef list parts = [None, entry.target]
    cdef EntryHead head
    cdef FieldSizes sizes
    cdef bytes name, value, table = b""
    head.status = <uint32_t>entry.status
    head.fields = <uint32_t>len(entry.fields)
    head.target_size = <uint32_t>PyBytes_GET_SIZE(entry.target)
    for name, value in entry.fields:
        sizes.name = <uint32_t>PyBytes_GET_SIZE(name)
        sizes.value = <uint32_t>PyBytes_GET_SIZE(value)
        table += (<char*>&sizes)[:sizeof(sizes)]
        parts += (name, value)
    parts[0] = (<char*>&head)[:sizeof(head)] + table
    parts.append(entry.content)
    return b"".join(parts)


cdef CacheEntry read_entry(bytes kept, uint64_t age_ns):
    """Return the entry in a record, None if the record holds none."""
    cdef const char* p = PyBytes_AS_STRING(kept)
    cdef uint64_t left = <uint64_t>PyBytes_GET_SIZE(kept), number
    cdef EntryHead head
    cdef FieldSizes sizes
    cdef const char* table
    cdef CacheEntry entry
    if left < sizeof(head):
        return None
    memcpy(&head, p, sizeof(head))
    table = p + sizeof(head)
    left -= sizeof(head)
    if <uint64_t>head.fields * sizeof(sizes) + head.target_size > left:
        return None
    p = table + head.fields * sizeof(sizes)
    left -= head.fields * sizeof(sizes) + head.target_size
    entry = CacheEntry.__new__(CacheEntry)
    entry.status = <int>head.status
    entry.age_ns = age_ns
    entry.target = p[:head.target_size]
    p += head.target_size
    entry.fields = []
    for number in range(head.fields):
        memcpy(&sizes, table + number * sizeof(sizes), sizeof(sizes))
        if <uint64_t>sizes.name + sizes.value > left:
            return None
        entry.fields.append((p[:sizes.name], p[sizes.name:<Py_ssize_t>sizes.name + sizes.value]))
        p += sizes.name + sizes.value
        left -= <uint64_t>sizes.name + sizes.value
    entry.content = p[:<Py_ssize_t>left]
    return entry


cdef class AnswerStore:
    """The shared block of answers. ``AnswerStore.create(size)`` makes a block, ``AnswerStore(fd)`` attaches to one."""
    cdef Header* header
    cdef uint64_t* flights
    cdef Slot* index
    cdef char* ring
    cdef size_t size
    cdef readonly int fd
    cdef bint owns_fd
    cdef uint64_t pid, generation

    def __cinit__(self, int fd):
        cdef void* block
        cdef Header* header
        self.fd = -1
        try:
            size = os.fstat(fd).st_size
        except OSError as error:
            raise ValueError(f"descriptor {fd} is not a store of answers: {error.strerror}") from error
        if size < <Py_ssize_t>PAGE:
            raise ValueError(f"descriptor {fd} is not a store of answers: {size} bytes is less than its header")
        block = mmap(NULL, <size_t>size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
        if block == MAP_FAILED:
            raise ValueError(f"descriptor {fd} is not a store of answers: it cannot be mapped for reading and writing")
        self.size = <size_t>size
        self.header = header = <Header*>block
        if header.magic != MAGIC or header.layout != LAYOUT or block_size(header.capacity, header.slots) != self.size:
            raise ValueError(f"descriptor {fd} is not a store of answers of this build")
        self.flights = <uint64_t*>(<char*>block + PAGE)
        self.index = <Slot*>(self.flights + FLIGHTS)
        self.ring = <char*>(self.index + header.slots)
        self.fd = fd
        self.pid = <uint64_t>os.getpid() & PID_MASK

    def __dealloc__(self):
        if self.header is not NULL:
            munmap(self.header, self.size)
        if self.owns_fd:
            close(self.fd)

    @staticmethod
    def create(size):
        """Create an empty store with a ring of ``size`` bytes, at least 64 KiB; its ``fd`` is closed with the object.

        Memory is taken as answers come. Raises ValueError for a size out of range, OSError if there is no memory.
        """
        cdef AnswerStore store
        cdef Header* header
        cdef void* block
        cdef uint64_t capacity, slots
        if not 65536 <= size <= 1 << 40:
            raise ValueError(f"a store of answers has 64 KiB to 1 TiB, not {size} bytes")
        capacity = <uint64_t>size & ~<uint64_t>7
        slots = slots_for(capacity)
        fd = os.memfd_create("edge-answers", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
        try:
            os.ftruncate(fd, block_size(capacity, slots))
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
            block = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, <int>fd, 0)
            if block == MAP_FAILED:
                raise MemoryError("no memory for a store of answers")
            header = <Header*>block
            header.layout = LAYOUT
            header.capacity = capacity
            header.slots = slots
            header.head = capacity          # so that no record has the place 0
            store64(&header.magic, MAGIC)
            munmap(block, PAGE)
            store = AnswerStore(fd)
        except BaseException:
            os.close(fd)
            raise
        store.owns_fd = True
        return store

    # --- answers -----------------------------------------------------------------------------------------------------
    def put(self, bytes question not None, bytes content not None, uint64_t stored_ns, uint64_t until_ns):
        """Keep ``content`` (copied) as the answer to ``question`` (32 bytes, a digest) until ``until_ns``.

        Returns False if it is larger than an eighth of the store, or was overtaken while it was written.
        """
        cdef const unsigned char* asked = self._checked(question)
        cdef uint64_t size = <uint64_t>len(content)
        cdef uint64_t need = sizeof(Record) + (size + 7 & ~<uint64_t>7)
        cdef uint64_t capacity = self.header.capacity
        cdef uint64_t head, start = 0
        cdef Record* record
        if need > capacity // LARGEST_SHARE:
            return False
        while True:
            head = load64(&self.header.head)
            start = head
            if start % capacity + need > capacity:      # a record is contiguous
                start += capacity - start % capacity
            if cas64(&self.header.head, head, start + need):
                break
        record = <Record*>(self.ring + start % capacity)
        record.place = start
        memcpy(record.question, asked, 32)
        record.size = size
        record.stored_ns = stored_ns
        record.until_ns = until_ns
        record.checksum = checksum_of(PyBytes_AS_STRING(content), size)
        memcpy(<char*>record + sizeof(Record), PyBytes_AS_STRING(content), size)
        if load64(&self.header.head) > start + capacity:
            return False
        self._publish(tag_of(asked), start)
        return True

    cdef void _publish(self, uint64_t tag, uint64_t place) noexcept:
        """Point the index at a complete record: at its question's slot, else a free one, else that of the oldest."""
        cdef Slot* bucket = self._bucket(tag)
        cdef Slot* chosen = bucket
        cdef uint64_t way
        for way in range(WAYS):
            if load64(&bucket[way].tag) == tag:
                chosen = bucket + way
                break
            if load64(&bucket[way].place) < load64(&chosen.place):
                chosen = bucket + way
        # A reader between the three stores finds no record, or one whose question differs.
        store64(&chosen.place, 0)
        store64(&chosen.tag, tag)
        store64(&chosen.place, place)

    def keep(self, bytes question not None, CacheEntry entry not None, uint64_t now_ns, uint64_t until_ns):
        """Keep an answer that has just come until ``until_ns``; returns as :meth:`put` does."""
        return self.put(question, write_entry(entry), now_ns, until_ns)

    def find(self, bytes question not None, uint64_t now_ns):
        """Return the CacheEntry that answers ``question``, however old, as long as it may be used at all, or None."""
        cdef uint64_t stored_ns = 0
        cdef bytes kept = self._read(question, now_ns, &stored_ns)
        return None if kept is None else read_entry(kept, now_ns - stored_ns if now_ns > stored_ns else 0)

    def get(self, bytes question not None, uint64_t now_ns):
        """Return ``(content, stored_ns)`` of the answer to ``question``, or None."""
        cdef uint64_t stored_ns = 0
        cdef bytes content = self._read(question, now_ns, &stored_ns)
        return None if content is None else (content, stored_ns)

    cdef bytes _read(self, bytes question, uint64_t now_ns, uint64_t* stored_ns):
        """Return a copy of what was put for ``question``, or None; ``stored_ns`` is set with it."""
        cdef const unsigned char* asked = self._checked(question)
        cdef uint64_t tag = tag_of(asked)
        cdef Slot* bucket = self._bucket(tag)
        cdef uint64_t capacity = self.header.capacity
        cdef uint64_t way, place
        cdef Record copy
        cdef bytes content
        memset(&copy, 0, sizeof(copy))
        for way in range(WAYS):
            if load64(&bucket[way].tag) != tag:
                continue
            place = load64(&bucket[way].place)
            if not place or load64(&self.header.head) > place + capacity:
                continue
            memcpy(&copy, self.ring + place % capacity, sizeof(Record))
            if copy.place != place or copy.size > capacity // LARGEST_SHARE or memcmp(copy.question, asked, 32) != 0:
                continue
            if place % capacity + sizeof(Record) + copy.size > capacity:
                continue
            content = PyBytes_FromStringAndSize(
                self.ring + place % capacity + sizeof(Record), <Py_ssize_t>copy.size
            )
            if load64(&self.header.head) > place + capacity or (
                checksum_of(PyBytes_AS_STRING(content), copy.size) != copy.checksum
            ):
                continue
            if copy.until_ns <= now_ns:
                return None
            if load64(&self.header.head) - place > capacity // 2:
                self.put(question, content, copy.stored_ns, copy.until_ns)
            stored_ns[0] = copy.stored_ns
            return content
        return None

    # --- flights -----------------------------------------------------------------------------------------------------
    def begin(self, bytes question not None):
        """Register a flight: this process asks a target.

        Returns ``(True, flight)``: registered, and to be ended with :meth:`end`. ``(False, flight)``: another exchange of
        the node asks already. ``(True, 0)``: too many flights are under way to register another.
        """
        cdef const unsigned char* asked = self._checked(question)
        cdef uint64_t tag = tag_of(asked)
        cdef uint64_t short_tag = tag >> 32
        cdef uint64_t step, word, own
        cdef uint64_t* at
        cdef uint64_t* free = NULL
        cdef uint64_t found = 0
        for step in range(PROBES):
            at = self.flights + (tag + step) % FLIGHTS
            word = load64(at)
            if word and word >> 32 == short_tag and self._lives(word):
                return False, word
            if free is NULL and (not word or not self._lives(word)):
                free = at
                found = word
        if free is NULL:
            return True, 0
        self.generation = self.generation + 1 & GENERATION_MASK
        own = short_tag << 32 | self.generation << PID_BITS | self.pid
        if cas64(free, found, own):
            return True, own
        return True, 0      # another process was quicker: both ask

    def flying(self, bytes question not None, uint64_t flight):
        """Return whether a flight that :meth:`begin` named is still under way."""
        cdef uint64_t tag = tag_of(self._checked(question))
        cdef uint64_t step
        for step in range(PROBES):
            if load64(self.flights + (tag + step) % FLIGHTS) == flight:
                return self._lives(flight)
        return False

    def end(self, bytes question not None, uint64_t flight):
        """End a flight of this process, with an answer in the store or without."""
        cdef uint64_t tag = tag_of(self._checked(question))
        cdef uint64_t step
        if flight:
            for step in range(PROBES):
                if cas64(self.flights + (tag + step) % FLIGHTS, flight, 0):
                    return

    cdef bint _lives(self, uint64_t word) noexcept:
        """Return whether the process of a flight exists."""
        cdef uint64_t pid = word & PID_MASK
        return pid == self.pid or kill(<int>pid, 0) == 0 or errno != ESRCH

    cdef inline Slot* _bucket(self, uint64_t tag) noexcept:
        return self.index + (tag * WAYS & self.header.slots - 1)

    cdef const unsigned char* _checked(self, bytes question) except NULL:
        if len(question) != 32:
            raise ValueError(f"a question is a digest of 32 bytes, not {len(question)}")
        return <const unsigned char*>PyBytes_AS_STRING(question)
