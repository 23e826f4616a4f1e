import fcntl
import os

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stddef cimport size_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
from native.io.atomics cimport add64, load64, store64

cdef extern from "<sys/mman.h>" nogil:
    void* mmap(void* address, size_t size, int protection, int flags, int fd, long offset)
    int munmap(void* address, size_t size)
    const int PROT_READ
    const int PROT_WRITE
    const int MAP_SHARED
    void* MAP_FAILED
cdef extern from "<unistd.h>" nogil:
    int close(int fd)
cdef extern from "native/codec/sha256.h" nogil:
    void edge_sha256(const void* data, size_t size, unsigned char* out)

cdef uint64_t MAGIC = 0x6564676569647331        # "edgeids1"
cdef uint64_t LAYOUT = 3
cdef uint64_t PAGE = 4096
cdef uint64_t WAYS = 8                  # records of a bucket
cdef uint64_t MOST = 1 << 24
cdef Py_ssize_t DUMPED = 40             # bytes of a record in a dump: its words without the check
cdef uint64_t NEWS = 16_384             # records of the journal of what was put here, behind the table; the oldest go first
cdef Py_ssize_t TOLD = 32               # bytes of a record for other nodes: id, place and owner
# A record that was asked for is written again only this seldom.
cdef uint64_t TOUCH_S = 3600


cdef inline uint64_t mix(uint64_t x) noexcept nogil:
    """Return a word in which every bit depends on every bit of ``x`` (the finalizer of SplitMix64)."""
    x = (x ^ (x >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    x = (x ^ (x >> 27)) * <uint64_t>0x94D049BB133111EB
    return x ^ (x >> 31)


cdef inline uint64_t check_of(const Record* record) noexcept nogil:
    cdef uint64_t check = mix(record.low)
    check = mix(check ^ record.high)
    check = mix(check ^ record.place)
    return mix(check ^ record.owner) | 1


cdef int digest(bytes name, uint64_t* low, uint64_t* high) except -1:
    cdef unsigned char[32] out
    edge_sha256(PyBytes_AS_STRING(name), <size_t>PyBytes_GET_SIZE(name), out)
    memcpy(low, out, 8)
    memcpy(high, out + 8, 8)


cdef uint64_t word_of(bytes name):
    cdef uint64_t low = 0, high = 0
    if not name:
        return 0
    digest(name, &low, &high)
    return low if low else high | 1


cdef uint64_t rendezvous_rank(uint64_t seed, uint64_t place) noexcept nogil:
    return mix(seed ^ mix(place))


cdef uint64_t block_size(uint64_t buckets) noexcept:
    return PAGE + (buckets * WAYS + NEWS) * sizeof(Record)


cdef inline uint64_t* told(Header* header) noexcept nogil:
    """Return the word that counts the records that were ever written to the journal."""
    return <uint64_t*>header + 8        # on a cache line of its own, behind the header


cdef bint look_up(Record* bucket, uint64_t low, uint64_t high, Record* out) noexcept nogil:
    """Copy the record of an id out of its bucket; its ``rest`` then has its place there."""
    cdef uint64_t way
    for way in range(WAYS):
        out[0] = bucket[way]
        if out.low == low and out.high == high and out.check == check_of(out):
            out.rest[0] = way
            return True
    return False


cdef void note(uint64_t* count, Record* news, const Record* record) noexcept nogil:
    """Write a record to the journal, for the other nodes; its ``used_s`` there is its number, from 1 on."""
    cdef uint64_t number = add64(count, 1)
    cdef Record* entry = news + (number - 1) % NEWS
    store64(&entry.check, 0)
    entry.used_s = number
    entry.low = record.low
    entry.high = record.high
    entry.place = record.place
    entry.owner = record.owner
    store64(&entry.check, check_of(record))


cdef class IssuedIds:
    """The shared table of ids. ``IssuedIds.create(most)`` makes a table, ``IssuedIds(fd)`` attaches to one."""

    def __cinit__(self, int fd):
        cdef void* block
        cdef Header* header
        self.fd = -1
        try:
            size = os.fstat(fd).st_size
        except OSError as error:
            raise ValueError(f"descriptor {fd} is not a table of ids: {error.strerror}") from error
        if size < <Py_ssize_t>PAGE:
            raise ValueError(f"descriptor {fd} is not a table of ids: {size} bytes is less than its header")
        block = mmap(NULL, <size_t>size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
        if block == MAP_FAILED:
            raise ValueError(f"descriptor {fd} is not a table of ids: it cannot be mapped for reading and writing")
        self.size = <size_t>size
        self.header = header = <Header*>block
        if header.magic != MAGIC or header.layout != LAYOUT or block_size(header.buckets) != self.size:
            raise ValueError(f"descriptor {fd} is not a table of ids of this build")
        self.records = <Record*>(<char*>block + PAGE)
        self.fd = fd

    def __dealloc__(self):
        if self.header is not NULL:
            munmap(self.header, self.size)
        if self.owns_fd:
            close(self.fd)

    @staticmethod
    def create(most):
        """Create an empty table for ``most`` ids, rounded up to 8; its ``fd`` is closed with the object.

        Memory is taken as ids come. Raises ValueError for a number out of range, OSError if there is no memory.
        """
        cdef IssuedIds table
        cdef Header* header
        cdef void* block
        if not 1 <= most <= MOST:
            raise ValueError(f"a table of ids has room for 1 to {MOST}, not {most}")
        buckets = (most + <int>WAYS - 1) // <int>WAYS
        fd = os.memfd_create("edge-issued-ids", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
        try:
            os.ftruncate(fd, block_size(<uint64_t>buckets))
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
            block = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, <int>fd, 0)
            if block == MAP_FAILED:
                raise MemoryError("no memory for a table of ids")
            header = <Header*>block
            header.layout = LAYOUT
            header.buckets = <uint64_t>buckets
            store64(&header.magic, MAGIC)
            munmap(block, PAGE)
            table = IssuedIds(fd)
        except BaseException:
            os.close(fd)
            raise
        table.owns_fd = True
        return table

    @property
    def capacity(self):
        """How many ids it has room for."""
        return self.header.buckets * WAYS

    @property
    def changes(self):
        """How often a record was written."""
        return load64(&self.header.changes)

    cdef bint knows_objects(self) noexcept:
        return load64(&self.header.objects) != 0

    cdef inline Record* _bucket(self, uint64_t low) noexcept nogil:
        return self.records + low % self.header.buckets * WAYS

    cdef bint find(self, bytes name, uint64_t now_s, Issued* out):
        cdef uint64_t low = 0, high = 0
        cdef Record* bucket
        cdef Record copy
        digest(name, &low, &high)
        bucket = self._bucket(low)
        if not look_up(bucket, low, high, &copy):
            return False
        out.place = copy.place
        out.owner = copy.owner
        if now_s > copy.used_s + TOUCH_S:
            store64(&bucket[copy.rest[0]].used_s, now_s)
            add64(&self.header.changes, 1)
        return True

    cdef int put(self, bytes name, uint64_t place, uint64_t owner, bint is_object, uint64_t now_s) except -1:
        cdef Record record
        cdef Issued known
        if self.find(name, now_s, &known) and known.place == place and known.owner == owner:
            if is_object and not self.knows_objects():
                add64(&self.header.objects, 1)
            return 0        # each answer to one who polls names the same ids
        memset(&record, 0, sizeof(record))
        digest(name, &record.low, &record.high)
        record.place = place
        record.owner = owner
        record.used_s = now_s
        self._write(&record)
        if owner:
            note(told(self.header), self.records + self.header.buckets * WAYS, &record)
        if is_object:
            add64(&self.header.objects, 1)

    cdef void _write(self, const Record* record) noexcept nogil:
        """Write a record over that of the same id, else a free or broken one, else the one unused for longest."""
        cdef Record* bucket = self._bucket(record.low)
        cdef Record* chosen = bucket
        cdef uint64_t oldest = <uint64_t>-1
        cdef uint64_t way, used
        cdef Record copy
        for way in range(WAYS):
            copy = bucket[way]
            if copy.low == record.low and copy.high == record.high and copy.check:
                chosen = bucket + way
                break
            used = copy.used_s if copy.check == check_of(&copy) else 0
            if used < oldest:
                oldest = used
                chosen = bucket + way
        # a reader in between finds a check that does not fit, and no record
        store64(&chosen.check, 0)
        chosen.low = record.low
        chosen.high = record.high
        chosen.place = record.place
        chosen.owner = record.owner
        chosen.used_s = record.used_s
        store64(&chosen.check, check_of(record))
        add64(&self.header.changes, 1)

    def made(self, uint64_t since, bint patient=True):
        """Return what was put here for a key since the mark ``since``, and the next mark: (bytes, int).

        The bytes are records of 32 for :meth:`merge`, oldest first, at most 16,384; 0 is the mark of the beginning. A
        record that is being written ends the list, and begins the next one; not if ``patient`` is False, because its
        writer may have died.
        """
        cdef uint64_t end = load64(told(self.header)), at
        cdef Record* news = self.records + self.header.buckets * WAYS
        cdef Record copy
        cdef char* kept
        cdef Py_ssize_t size = 0
        if since > end:
            since = 0       # the mark of an earlier table
        at = max(since, end - NEWS if end > NEWS else 0)
        if at == end:
            return b"", end
        kept = <char*>malloc((end - at) * <uint64_t>TOLD)
        if kept == NULL:
            raise MemoryError
        try:
            while at < end:
                copy = news[at % NEWS]
                if copy.check == check_of(&copy) and copy.used_s == at + 1:
                    memcpy(kept + size, &copy, <size_t>TOLD)
                    size += TOLD
                elif patient and copy.used_s <= at + 1:
                    break
                at += 1
            return PyBytes_FromStringAndSize(kept, size), at
        finally:
            free(kept)

    def merge(self, bytes records not None, uint64_t now_s):
        """Remember what :meth:`made` of other tables has returned; return how many ids were news.

        What is known here for a key stays: another node does not take an id away. Raises ValueError if these are no
        such records.
        """
        cdef Py_ssize_t size = PyBytes_GET_SIZE(records)
        cdef Py_ssize_t at
        cdef Record record, known
        cdef int news = 0
        if size % TOLD:
            raise ValueError(f"{size} bytes are no records of ids, which have {TOLD}")
        for at in range(0, size, TOLD):
            memset(&record, 0, sizeof(record))
            memcpy(&record, PyBytes_AS_STRING(records) + at, <size_t>TOLD)
            if not record.place or not record.owner:
                continue
            if look_up(self._bucket(record.low), record.low, record.high, &known) and known.owner:
                continue
            record.used_s = now_s
            self._write(&record)
            news += 1
        if news:
            add64(&self.header.objects, 1)
        return news

    def remember(self, str name not None, str place not None, str owner not None, uint64_t now_s):
        """Remember that ``place`` issued the id ``name`` for the key ``owner``; "" = for none."""
        self.put(name.encode(), word_of(place.encode()), word_of(owner.encode()), True, now_s)

    def issuer(self, str name not None, uint64_t now_s):
        """Return the words of place and key of an id, see :func:`word`; None = it is not remembered."""
        cdef Issued found
        return (found.place, found.owner) if self.find(name.encode(), now_s, &found) else None

    def dump(self, uint64_t first=0, uint64_t most=16777216):
        """Return the records in ``most`` places from ``first`` on as bytes, for :meth:`restore`; by default all.

        Other threads run meanwhile.
        """
        cdef uint64_t end = self.header.buckets * WAYS
        cdef Py_ssize_t size = 0
        cdef char* kept
        if first >= end or most == 0:
            return b""
        end = min(end, first + min(most, end - first))
        kept = <char*>malloc((end - first) * <uint64_t>DUMPED)
        if kept == NULL:
            raise MemoryError
        try:
            with nogil:
                size = self._copy(first, end, kept)
            return PyBytes_FromStringAndSize(kept, size)
        finally:
            free(kept)

    cdef Py_ssize_t _copy(self, uint64_t first, uint64_t end, char* out) noexcept nogil:
        cdef Py_ssize_t size = 0
        cdef uint64_t at
        cdef Record copy
        for at in range(first, end):
            copy = self.records[at]
            if copy.check and copy.check == check_of(&copy):
                memcpy(out + size, &copy, <size_t>DUMPED)
                size += DUMPED
        return size

    def restore(self, bytes dumped not None):
        """Remember what :meth:`dump` returned, of this table or of a smaller or larger one; return how many ids.

        Raises ValueError if it is no dump.
        """
        cdef Py_ssize_t size = PyBytes_GET_SIZE(dumped)
        cdef Py_ssize_t at
        cdef Record record
        if size % DUMPED:
            raise ValueError(f"{size} bytes are no dump of a table of ids, whose records have {DUMPED}")
        memset(&record, 0, sizeof(record))
        for at in range(0, size, DUMPED):
            memcpy(&record, PyBytes_AS_STRING(dumped) + at, <size_t>DUMPED)
            self._write(&record)
        if size:
            add64(&self.header.objects, 1)
        return size // DUMPED


def word(str name not None):
    """Return the word that stands for the name of a place or a key."""
    return word_of(name.encode())
