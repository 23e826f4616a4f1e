"""Finds the target that has a request's prompt in its cache, and remembers which target gets it.

``auto`` keeps conversations: a request that has turns of the model's goes where the chain of its turns was last, up to
LATEST turns back. One without is the beginning of a conversation, and chooses freely, so that weights hold; unless its
prompt is long enough for providers to cache it. When the target that it is kept at fails or rests, the conversation moves
and stays where it is answered. When that target is only full, one request goes elsewhere and the conversation stays.

``prefix`` is for pools whose members keep what they have computed: the prompt is cut into blocks, each known by the
fingerprint of all text up to its end, and members that have the longest part of it are preferred.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport int64_t, uint16_t
from native.balance.balancer cimport (
    BARRED_EXHAUSTED, BARRED_FULL, BARRED_RAMP, USABLE, TargetPool,
)
from native.codec.turns cimport LATEST, Turns, both, bytes_mark, name_mark
from native.io.atomics cimport add64, load64
from native.proxy.router cimport AFFINITY_NONE, AFFINITY_PREFIX, CONVERSES, OPERATION_RESPONSES
from native.state.pins cimport MOST_HOLDERS, pin_find, pin_holders, pin_put
from native.state.shared_state cimport R_KEPT, R_MOVED, edge_load_cache, edge_load_waiting

cdef enum:
    CACHED_FROM = 4096      # bytes of a prompt that providers cache: OpenAI, Anthropic and Gemini from 1,024 tokens on
    BLOCK = 256             # bytes of the smallest block; from the sixteenth on a block is a sixteenth of what is before it
    MOST_BLOCKS = 128       # 80 of them reach 1 MiB
    NAME_WITHIN = 512       # bytes of an answer in which its name stands
    NAME_LONGEST = 128

cdef uint64_t S = 1_000_000_000
cdef uint64_t NAMED_NS = 86_400_000_000_000     # providers keep Responses for 30 days; pins are kept for 36 hours at most
cdef uint64_t COMPUTED_NS = 3_600_000_000_000   # such targets forget what they need room for, and say nothing
# Members that have so much less of the prompt than the best, as a part of it, are as good.
cdef double NEARLY = 0.1
# What a member says of itself: requests that wait there beyond those elsewhere, and thousandths of its cache in use.
cdef int QUEUE_LEAST = 4
cdef int FULL_CACHE = 970


cdef inline bint _goes_on(const Turns* turns) noexcept:
    """Return whether an earlier request may have had these turns, or their prompt is long enough to be in a cache."""
    return turns.answered or turns.end - turns.start + turns.fixed_end - turns.fixed_start >= CACHED_FROM


cdef Affinity new_affinity(ModelRequest request, uint64_t now_ns):
    cdef Affinity affinity
    cdef const Turns* turns = &request.turns
    cdef int kind = request.route.affinity
    cdef bint unnamed
    if kind == <int>AFFINITY_NONE or not <int>CONVERSES >> request.operation & 1:
        return None
    if turns.count == 0 and turns.named == 0:
        return None
    unnamed = request.operation == <int>OPERATION_RESPONSES and request.stored
    if kind != <int>AFFINITY_PREFIX and turns.named == 0 and not unnamed and not _goes_on(turns):
        return None     # it is kept nowhere yet: remember_first() needs no more than the request
    affinity = Affinity.__new__(Affinity)
    affinity.request = request
    affinity.route = request.route
    affinity.kept = -1
    affinity.unnamed = unnamed
    affinity.find(now_ns)
    return affinity


cdef void remember_first(ModelRequest request, int index, uint64_t now_ns) noexcept:
    cdef const Turns* turns = &request.turns
    cdef Route route = request.route
    if turns.count and <int>CONVERSES >> request.operation & 1:
        pin_put(
            route.shared_state, both(turns.chain ^ turns.fixed, route.slot), route.pool.slots[index], now_ns,
            now_ns + <uint64_t>turns.keep_s * S, True,
        )


@cython.freelist(16)
cdef class Blocks:
    def __repr__(self):
        return f"<Blocks {self.count}>"


@cython.freelist(64)
cdef class Affinity:
    def __repr__(self):
        return f"<Affinity {self.route.name} kept={self.kept}>"

    cdef int find(self, uint64_t now_ns) except -1:
        cdef const Turns* turns = &self.request.turns
        cdef int64_t turn
        if turns.named:
            self.kept = self._find_pin(turns.named, now_ns)
        if self.route.affinity == <int>AFFINITY_PREFIX:
            if self.kept < 0:
                self._divide()
            return 0
        if self.kept >= 0 or not _goes_on(turns):
            return 0
        for turn in range(turns.count - 1, max(turns.count - <int>LATEST, 0) - 1, -1):
            self.kept = self._find_pin(turns.latest[turn % <int>LATEST] ^ turns.fixed, now_ns)
            if self.kept >= 0:
                return 0

    cdef int _find_pin(self, uint64_t mark, uint64_t now_ns) noexcept:
        cdef int slot = pin_find(self.route.shared_state, both(mark, self.route.slot), now_ns, &self.kept_until_ns)
        return -1 if slot < 0 else self.route.pool.member_of(slot)

    cdef int _divide(self) except -1:
        """Cut the system prompt and the turns into blocks. What is behind the last whole block does not count."""
        cdef const Turns* turns = &self.request.turns
        cdef const char* body = PyBytes_AS_STRING(self.request.content)
        cdef Py_ssize_t[2] starts = [turns.fixed_start, turns.start]
        cdef Py_ssize_t[2] sizes = [turns.fixed_end - turns.fixed_start, turns.end - turns.start]
        cdef Py_ssize_t done = 0, at, size
        cdef uint64_t mark = self.route.slot
        cdef Blocks blocks = Blocks.__new__(Blocks)
        cdef int part
        self.blocks = blocks
        for part in range(2):
            at = 0
            while blocks.count < MOST_BLOCKS:
                size = BLOCK
                while size * 16 <= done:
                    size *= 2
                if sizes[part] - at < size:
                    if part == 1 or sizes[part] == at:
                        break
                    size = sizes[part] - at     # a system prompt is a prefix of its own
                mark = bytes_mark(body + starts[part] + at, size, mark)
                at += size
                done += size
                blocks.marks[blocks.count] = mark
                blocks.ends[blocks.count] = done
                blocks.count += 1

    cdef bint rank(self, uint64_t now_ns) noexcept:
        cdef TargetPool pool = self.route.pool
        cdef uint16_t[MOST_HOLDERS] slots
        cdef int block, holder, count, member
        cdef int missing = 0
        cdef bint ranked = False
        if self.blocks is None or self.blocks.count == 0:
            return False
        self.has = 0
        for member in range(pool.size):
            pool.rank[member] = 0.0
        for block in range(self.blocks.count):
            count = pin_holders(self.route.shared_state, self.blocks.marks[block], now_ns, slots)
            if count == 0:
                missing += 1
                if missing == 2:        # one may have been given up for another
                    break
            for holder in range(count):
                member = pool.member_of(slots[holder])
                if member >= 0:
                    pool.rank[member] = -<double>self.blocks.ends[block]
        for member in range(pool.size):
            if pool.rank[member] < 0:
                if pool.roomy(member, <uint64_t>-1) and not self._queues(member, now_ns):
                    ranked = True
                    self.has |= <uint64_t>1 << member
                else:
                    pool.rank[member] = 0.0
        if ranked:
            pool.rank_slack = NEARLY * self.blocks.ends[self.blocks.count - 1]
        return ranked

    cdef bint _queues(self, int index, uint64_t now_ns) noexcept:
        """Return whether requests wait at a member that says so, more than at the one where fewest wait."""
        cdef TargetPool pool = self.route.pool
        cdef uint64_t word = load64(&pool.recs[index].upstream_load)
        cdef int own = edge_load_waiting(word, now_ns // 1_000_000)
        cdef int least = own
        cdef int other
        if edge_load_cache(word, now_ns // 1_000_000) >= FULL_CACHE:
            return True
        if own <= QUEUE_LEAST:
            return False
        for other in range(pool.size):
            least = min(least, edge_load_waiting(load64(&pool.recs[other].upstream_load), now_ns // 1_000_000))
        return own > least + QUEUE_LEAST

    cdef void remember(self, int index, uint64_t tried, uint64_t now_ns) noexcept:
        cdef TargetPool pool = self.route.pool
        cdef const Turns* turns = &self.request.turns
        cdef uint64_t until = now_ns + <uint64_t>turns.keep_s * S
        cdef int block, member
        cdef int kept = index
        if self.kept == index or self.has >> index & 1:
            add64(&self.route.rec.count[<int>R_KEPT], 1)
        if self.blocks is not None:
            for block in range(self.blocks.count):
                pin_put(
                    self.route.shared_state, self.blocks.marks[block], pool.slots[index], now_ns, now_ns + COMPUTED_NS, False
                )
            return
        if self.kept >= 0 and self.kept != index and self._stays(tried, now_ns):
            kept = self.kept        # this request alone went elsewhere, and has not renewed the cache
            until = self.kept_until_ns
        elif self.kept >= 0 and self.kept != index:
            add64(&self.route.rec.count[<int>R_MOVED], 1)
        elif self.kept == index and pool.spilled(index):
            for member in range(pool.size):
                if pool.tiers[member] < pool.tiers[index] and pool.barred(
                    member, now_ns, 0, self.request.identity.priority
                ) == <int>USABLE:
                    until = self.kept_until_ns      # a better tier is back: it gets the conversation when the pin expires
                    break
        if turns.named:
            pin_put(self.route.shared_state, both(turns.named, self.route.slot), pool.slots[kept], now_ns, until, True)
        if turns.count:
            pin_put(
                self.route.shared_state, both(turns.chain ^ turns.fixed, self.route.slot), pool.slots[kept], now_ns, until,
                True,
            )

    cdef bint _stays(self, uint64_t tried, uint64_t now_ns) noexcept:
        """Return whether the conversation stays where it is kept, although another member has answered."""
        cdef TargetPool pool = self.route.pool
        cdef int bar
        if tried >> self.kept & 1:
            return False
        bar = pool.barred(self.kept, now_ns, 0, self.request.identity.priority)
        if bar == <int>BARRED_FULL or bar == <int>BARRED_RAMP or bar == <int>BARRED_EXHAUSTED:
            return True
        return bar == <int>USABLE and pool.aside(self.kept, now_ns) == <int>USABLE

    cdef int learn(self, int index, bytes data, uint64_t now_ns) except -1:
        cdef const char* p
        cdef Py_ssize_t at, end
        self.unnamed = False
        if self.request.is_foreign(index):
            return 0        # the name is edge's own, and says nothing to the target
        at = data.find(b'"resp_', 0, NAME_WITHIN)
        end = -1 if at < 0 else data.find(b'"', at + 1, at + NAME_LONGEST)
        if end < 0:
            return 0
        p = PyBytes_AS_STRING(data)
        pin_put(
            self.route.shared_state, both(name_mark(p + at + 1, end - at - 1), self.route.slot),
            self.route.pool.slots[index], now_ns, now_ns + NAMED_NS, True,
        )
