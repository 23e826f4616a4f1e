import fcntl
import os

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset
from posix.mman cimport MAP_FAILED, MAP_SHARED, PROT_READ, PROT_WRITE, mmap, munmap
from posix.unistd cimport close
from native.io.atomics cimport add64, cas64, load64, or64, store32, store64
from native.state.views cimport allowance_view, route_view, target_view, use_views, worker_view

LAYOUT = EDGE_STATE_LAYOUT

cdef enum:
    EDGE_LINE = 64          # bytes of a bucket of pins


cdef bint circuit_hint(CircuitRec* rec, uint64_t now_ns) noexcept nogil:
    cdef uint64_t word = load64(&rec.circuit)
    cdef uint64_t allowed = load64(&rec.hint_ns)
    cdef uint64_t due_ms = ((now_ns if now_ns > allowed else allowed) + 999_999) // 1_000_000
    while edge_circuit_state(word) == 1 and due_ms < edge_circuit_until_ms(word):
        if cas64(&rec.circuit, word, edge_circuit(1, edge_circuit_generation(word), due_ms)):
            return True
        word = load64(&rec.circuit)
    return False


cdef void hasten(uint64_t* tat, uint64_t before, uint64_t share, uint64_t now_ns, uint64_t window_ns) noexcept nogil:
    """Convert a bucket's debt beyond its window to a share that has grown."""
    cdef uint64_t word = load64(tat), owed
    while before and share > before and word > now_ns and word - now_ns > window_ns:
        owed = <uint64_t>(<double>(word - now_ns) * <double>before / <double>share)
        if cas64(tat, word, now_ns + max(owed, window_ns)):
            return
        word = load64(tat)


cdef class SharedState:
    """The shared block. ``SharedState.create(...)`` makes a block, ``SharedState(fd)`` attaches to an existing one."""

    def __cinit__(self, int fd):
        cdef SharedStateHeader* header
        cdef size_t needed
        cdef void* block
        self.fd = -1
        self.owns_fd = False
        try:
            size = os.fstat(fd).st_size
        except OSError as error:
            raise ValueError(f"descriptor {fd} is not a shared state: {error.strerror}") from error
        if size < <Py_ssize_t>sizeof(SharedStateHeader):
            raise ValueError(f"descriptor {fd} is not a shared state: {size} bytes is less than its header")
        block = mmap(NULL, <size_t>size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
        if block == MAP_FAILED:
            raise ValueError(f"descriptor {fd} is not a shared state: it cannot be mapped for reading and writing")
        self.size = <size_t>size
        self.header = header = <SharedStateHeader*>block
        if header.magic != EDGE_STATE_MAGIC:
            raise ValueError(f"descriptor {fd} is not a shared state: wrong magic number")
        if header.layout != EDGE_STATE_LAYOUT:
            raise ValueError(
                f"the shared state has layout {header.layout} and this build reads layout {EDGE_STATE_LAYOUT}: "
                "restart the whole node with one build"
            )
        needed = block_size(
            header.target_capacity, header.route_capacity, header.worker_capacity, header.allowance_capacity,
            header.pin_buckets,
        )
        if header.worker_capacity > <uint32_t>EDGE_MAX_WORKERS or needed > self.size:
            raise ValueError(f"descriptor {fd} is not a whole shared state: {size} bytes of {needed}")
        self.targets = <TargetRec*>(<char*>block + sizeof(SharedStateHeader))
        self.routes = <RouteRec*>(self.targets + header.target_capacity)
        self.allowances = <AllowanceRec*>(self.routes + header.route_capacity)
        self.workers = <WorkerRec*>(self.allowances + header.allowance_capacity)
        self.pins = <uint64_t*>(self.workers + header.worker_capacity)
        self.pin_buckets = header.pin_buckets
        self.touched = self.pins + header.pin_buckets * EDGE_LINE // sizeof(uint64_t)
        self.fd = fd

    def __dealloc__(self):
        if self.header is not NULL:
            munmap(self.header, self.size)
        if self.owns_fd:
            close(self.fd)

    @staticmethod
    def create(
        target_capacity, route_capacity, worker_capacity, now_ns=0, allowance_capacity=0, reserved_allowances=0,
        pin_bytes=0
    ):
        """Create an empty block with these numbers of records; its ``fd`` is inheritable and closed with the object.

        ``reserved_allowances`` come behind those of the Snapshot, for the cluster's keys. ``pin_bytes`` is the most memory
        for pins (native/state/pins). What is never used takes no memory.

        The size of the block is sealed, so that no process can take memory away from another. Raises ValueError for a
        capacity out of range, OSError if there is no memory.
        """
        cdef SharedState shared_state
        cdef SharedStateHeader* header
        if not 1 <= worker_capacity <= EDGE_MAX_WORKERS:
            raise ValueError(f"worker_capacity is 1 to {EDGE_MAX_WORKERS}, not {worker_capacity}")
        if not 0 <= target_capacity <= 65536 or not 0 <= route_capacity <= 65536:
            raise ValueError(f"target and route capacities are 0 to 65536, not {target_capacity}, {route_capacity}")
        if not 0 <= allowance_capacity <= 65536:
            raise ValueError(f"the allowance capacity is 0 to 65536, not {allowance_capacity}")
        if not 0 <= reserved_allowances <= 262144:
            raise ValueError(f"reserved_allowances is 0 to 262144, not {reserved_allowances}")
        allowance_capacity += reserved_allowances
        if not 0 <= pin_bytes <= 1 << 36:
            raise ValueError(f"pins have 0 to 64 GiB, not {pin_bytes} bytes")
        buckets = 1 << (pin_bytes // EDGE_LINE).bit_length() >> 1
        size = block_size(target_capacity, route_capacity, worker_capacity, allowance_capacity, buckets)
        fd = os.memfd_create("edge-shared state", os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, size)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
            block = mmap(NULL, <size_t>size, PROT_READ | PROT_WRITE, MAP_SHARED, <int>fd, 0)
            if block == MAP_FAILED:
                raise MemoryError(f"no memory for a shared state of {size} bytes")
            header = <SharedStateHeader*>block
            header.layout = EDGE_STATE_LAYOUT
            header.target_capacity = target_capacity
            header.route_capacity = route_capacity
            header.worker_capacity = worker_capacity
            header.allowance_capacity = allowance_capacity
            header.reserved_allowances = reserved_allowances
            header.pin_buckets = buckets
            header.created_ns = now_ns
            store64(&header.magic, EDGE_STATE_MAGIC)
            munmap(block, <size_t>size)
            shared_state = SharedState(fd)
        except BaseException:
            os.close(fd)
            raise
        shared_state.owns_fd = True
        return shared_state

    cdef TargetRec* target(self, int slot) except NULL:
        if not 0 <= slot < <int>self.header.target_capacity:
            raise IndexError(f"target slot {slot} is not on this shared state of {self.header.target_capacity}")
        return self.targets + slot

    cdef CircuitRec* circuit(self, int slot, int capability) except NULL:
        if not -1 <= capability < EDGE_CAPABILITIES:
            raise IndexError(f"there is no capability {capability}")
        return &self.target(slot).own if capability < 0 else &self.target(slot).capability[capability]

    cdef RouteRec* route(self, int slot) except NULL:
        if not 0 <= slot < <int>self.header.route_capacity:
            raise IndexError(f"route slot {slot} is not on this shared state of {self.header.route_capacity}")
        return self.routes + slot

    cdef WorkerRec* worker(self, int index) except NULL:
        if not 0 <= index < <int>self.header.worker_capacity:
            raise IndexError(f"worker {index} is not on this shared state of {self.header.worker_capacity}")
        return self.workers + index

    cdef AllowanceRec* allowance(self, int slot) except NULL:
        if not 0 <= slot < <int>self.header.allowance_capacity:
            raise IndexError(f"allowance slot {slot} is not on this shared state of {self.header.allowance_capacity}")
        return self.allowances + slot

    cdef int touch(self, int slot) except -1:
        cdef uint64_t* word
        cdef uint64_t bit = <uint64_t>1 << (slot & 63)
        cdef uint64_t known
        self.allowance(slot)
        word = self.touched + (slot >> 6)
        known = load64(word)
        while not known & bit and not cas64(word, known, known | bit):
            known = load64(word)
        return 0

    def touched_allowances(self, int first=0):
        """Return the slots, from ``first`` on, of the allowances that workers have used since the block was created."""
        cdef list found = []
        cdef int place, slot
        cdef uint64_t word
        for place in range(max(first, 0) // 64, (<int>self.header.allowance_capacity + 63) // 64):
            word = load64(self.touched + place)
            slot = place * 64
            while word:
                if word & 1 and slot >= first:
                    found.append(slot)
                word >>= 1
                slot += 1
        return found

    @property
    def allowance_capacity(self):
        """Return the number of records for keys and credentials of a Snapshot."""
        return self.header.allowance_capacity - self.header.reserved_allowances

    @property
    def reserved_allowances(self):
        """Return the first slot for the cluster's keys, and how many there are."""
        return self.allowance_capacity, self.header.reserved_allowances

    @property
    def created_ns(self):
        """Return when the block was created, with every counter at 0, in monotonic ns."""
        return self.header.created_ns

    @property
    def capacities(self):
        """Return the numbers of records for (targets, routes, workers)."""
        return self.header.target_capacity, self.header.route_capacity, self.header.worker_capacity

    def read_target(self, int slot, uint64_t now_ns):
        """Copy one target's record; views.pyi has the keys of a ``TargetView``."""
        return target_view(self.target(slot), <int>self.header.worker_capacity, now_ns)

    def read_route(self, int slot):
        """Copy one route's record; views.pyi has the keys of a ``RouteView``."""
        return route_view(self.route(slot), <int>self.header.worker_capacity)

    def read_target_uses(self, int slot):
        """Copy the counters of a target by Capability, 9 for requests without one; those that are not used are left out."""
        return use_views(self.target(slot).uses)

    def read_route_uses(self, int slot):
        """Copy the counters of a route, as ``read_target_uses``."""
        return use_views(self.route(slot).uses)

    def read_allowance(self, int slot):
        """Copy the record of one key or credential; views.pyi has the keys of an ``AllowanceView``."""
        return allowance_view(self.allowance(slot), <int>self.header.worker_capacity)

    def read_worker(self, int index):
        """Copy one worker's record; views.pyi has the keys of a ``WorkerView``. A ``pid`` of 0 = the slot is free."""
        return worker_view(self.worker(index))

    def beat(self, int index, int pid, uint64_t now_ns, uint64_t lag_us=0):
        """Record that worker ``index`` is alive as ``pid``, and how late its loop is; a new pid sets ``started_ns``."""
        cdef WorkerRec* rec = self.worker(index)
        if load64(&rec.pid) != <uint64_t>pid:
            store64(&rec.started_ns, now_ns)
            store64(&rec.pid, pid)
        store64(&rec.count[<int>W_LOOP_LAG_US], lag_us)
        store64(&rec.heartbeat_ns, now_ns)

    def clear_worker(self, int index):
        """Clear the in-flight columns, the pid and the gauges of a dead worker."""
        cdef WorkerRec* rec = self.worker(index)
        cdef uint32_t slot
        cdef int place
        for slot in range(self.header.target_capacity):
            store32(&self.targets[slot].inflight[index], 0)
            for place in range(EDGE_PRIORITIES):
                store32(&self.targets[slot].inflight_by_priority[place][index], 0)
        for slot in range(self.header.route_capacity):
            store32(&self.routes[slot].inflight[index], 0)
            store32(&self.routes[slot].waiting[index], 0)
        for touched in self.touched_allowances():   # to write to the others would take memory for them
            slot = touched
            store32(&self.allowances[slot].inflight[index], 0)
            store64(&self.allowances[slot].held_tokens[index], 0)
            store64(&self.allowances[slot].held_nano[index], 0)
        for gauge in (
            WorkerCounter.W_CONNECTIONS, WorkerCounter.W_UPSTREAMS, WorkerCounter.W_UPSTREAMS_IDLE,
            WorkerCounter.W_LOOP_LAG_US, WorkerCounter.W_BUFFERED,
        ):
            store64(&rec.count[<int>gauge], 0)
        store64(&rec.pid, 0)

    def clear_target(self, int slot):
        """Prepare a slot for a new target.

        The circuits' generations are advanced, so that outcomes of the former target's attempts are ignored. The
        in-flight columns stay, because those attempts still decrement them.
        """
        cdef TargetRec* rec = self.target(slot)
        cdef uint32_t[EDGE_CAPABILITIES] generations
        cdef uint32_t generation = edge_circuit_generation(load64(&rec.own.circuit)) + 1
        cdef int place
        for place in range(EDGE_CAPABILITIES):
            generations[place] = edge_circuit_generation(load64(&rec.capability[place].circuit)) + 1
        memset(rec, 0, <size_t>(<char*>rec.inflight - <char*>rec))
        store64(&rec.own.circuit, edge_circuit(0, generation, 0))
        for place in range(EDGE_CAPABILITIES):
            store64(&rec.capability[place].circuit, edge_circuit(0, generations[place], 0))

    def clear_route(self, int slot):
        """Prepare a slot for a new route; the in-flight columns stay, as in ``clear_target``."""
        cdef RouteRec* rec = self.route(slot)
        memset(rec, 0, <size_t>(<char*>rec.inflight - <char*>rec))

    def clear_allowance(self, int slot):
        """Prepare a slot for a new key or credential; the in-flight columns stay, as in ``clear_target``."""
        cdef AllowanceRec* rec = self.allowance(slot)
        memset(rec, 0, <size_t>(<char*>rec.inflight - <char*>rec))

    def set_spent(self, int slot, uint64_t month, uint64_t nano):
        """Restore a key's spending in ``month`` (months since year 0), in US dollars * 1e9; return whether that was done.

        A record that already has spending is not changed, so that no spending is lost.
        """
        cdef AllowanceRec* rec = self.allowance(slot)
        if not cas64(&rec.spent_month, 0, month):
            return False
        add64(&rec.spent_nano, nano)
        return True

    def raise_spent(self, int slot, uint64_t month, uint64_t nano):
        """Raise a key's spending in ``month`` to at least this amount, which the node had reported before a restart.

        Spending that is counted at the same time is kept. If the record's month is later than ``month``, the month stays
        and the sum is raised too.
        """
        cdef AllowanceRec* rec = self.allowance(slot)
        cdef uint64_t known = load64(&rec.spent_month)
        cdef uint64_t spent
        if known < month and cas64(&rec.spent_month, known, month):
            store64(&rec.spent_nano, 0)
        if load64(&rec.spent_month) >= month:
            spent = load64(&rec.spent_nano)
            if spent < nano:
                add64(&rec.spent_nano, nano - spent)

    def forget_spent(self, int slot):
        """Set a key's spending to 0, because an operator says so; what requests in flight cost is added to that."""
        store64(&self.allowance(slot).spent_nano, 0)

    def turn_back(self, int slot, uint64_t month):
        """Move a record of a later month back to this month: a clock that was ahead had written it.

        The sum is kept. So the key continues with its budget, and gets a new one when the next month begins.
        """
        cdef AllowanceRec* rec = self.allowance(slot)
        cdef uint64_t known = load64(&rec.spent_month)
        if known > month:
            cas64(&rec.spent_month, known, month)

    def set_ceiling(self, int slot, uint64_t month, uint64_t nano):
        """Set the amount that this node may spend of a shared budget in ``month``, in US dollars * 1e9."""
        cdef AllowanceRec* rec = self.allowance(slot)
        store64(&rec.ceiling_nano, nano)
        store64(&rec.ceiling_month, month)

    def halve_outputs(self, int slot):
        """Halve a route's histogram of output tokens, so that recent answers outweigh old ones."""
        cdef RouteRec* rec = self.route(slot)
        cdef int place
        cdef uint64_t count
        for place in range(EDGE_HIST_BUCKETS):
            count = load64(&rec.output_hist[place])
            add64(&rec.output_hist[place], -(count - count // 2))

    def set_manual(self, int slot, int code):
        """Set the manual override of a target: 0 none, 1 drain, 2 eject."""
        if code not in (0, 1, 2):
            raise ValueError(f"manual is 0 (none), 1 (drain) or 2 (eject), not {code}")
        store64(&self.target(slot).manual, code)

    def set_quarantine(self, int slot, int reason, uint64_t until_ns):
        """Give a target no traffic until ``until_ns``; ``reason`` is the Outcome that caused the quarantine."""
        cdef TargetRec* rec = self.target(slot)
        store64(&rec.quarantined_until_ns, until_ns)
        store32(&rec.quarantine_reason, reason)

    def clear_quarantine(self, int slot):
        """End the quarantine of a target."""
        self.set_quarantine(slot, 0, 0)

    def set_rate_limited(self, int slot, uint64_t until_ns):
        """Give a target no traffic until ``until_ns``, because it rate-limits. The later of two deadlines wins."""
        cdef TargetRec* rec = self.target(slot)
        cdef uint64_t until = load64(&rec.rate_limited_until_ns)
        while until < until_ns and not cas64(&rec.rate_limited_until_ns, until, until_ns):
            until = load64(&rec.rate_limited_until_ns)

    def set_remote(self, int slot, double weight, uint32_t failure_threshold, uint64_t now_ns, int capability=-1):
        """Set what other regions report of a target, or of one of its capabilities (-1: none); it holds for 15 s.

        ``weight`` (0.001 to 1.0) is the part of its normal traffic that the target gets while others are available.
        ``failure_threshold`` is the number of failures in a row that open its circuit here; 0 = as in the route's policy.
        """
        if not 0.001 <= weight <= 1.0:
            raise ValueError(f"a weight is 0.001 to 1.0, not {weight}")
        cdef uint32_t thousandths = <uint32_t>(weight * 1000 + 0.5)
        cdef CircuitRec* rec = self.circuit(slot, capability)
        store64(&rec.remote, edge_remote(thousandths, failure_threshold, now_ns // 1_000_000))
        if capability >= 0:     # it is looked at from now on, until a request that needs it has succeeded
            or64(&self.target(slot).doubted, <uint64_t>1 << capability)

    def clear_remote(self, int slot, int capability=-1):
        """Clear what other regions have reported of a target, or of one of its capabilities (-1: none)."""
        store64(&self.circuit(slot, capability).remote, 0)

    def set_load(self, int slot, uint32_t waiting, double cache, uint64_t now_ns):
        """Set what a self-hosted target says of itself: the requests that wait there, and the part of its cache in use.

        It holds for 10 s.
        """
        if not 0.0 <= cache <= 1.0:
            raise ValueError(f"the part of a cache in use is 0 to 1, not {cache}")
        store64(
            &self.target(slot).upstream_load, edge_upstream_load(waiting, <uint32_t>(cache * 1000), now_ns // 1_000_000)
        )

    def set_shares(self, int slot, uint64_t requests, uint64_t tokens, *, uint64_t until_ns, uint64_t nodes,
                   uint64_t now_ns, windows_ns=(0, 0), concurrent=None):
        """Set this node's share of a shared allowance, in thousandths per minute; 0 = the whole allowance.

        ``concurrent`` is the share of concurrent requests, which may be 0; None = all of them.

        The shares hold until ``until_ns`` (monotonic); afterwards the node grants 1 / ``nodes`` of the allowance.
        ``windows_ns`` is burst / rate of each bucket. If a share grows, a bucket's debt beyond its window is converted to
        the new rate. Otherwise one request at a very low rate would block the bucket for minutes.
        """
        cdef AllowanceRec* rec = self.allowance(slot)
        cdef uint64_t requests_ns = windows_ns[0], tokens_ns = windows_ns[1]
        hasten(&rec.requests_tat, load64(&rec.requests_share), requests, now_ns, requests_ns)
        hasten(&rec.tokens_tat, load64(&rec.tokens_share), tokens, now_ns, tokens_ns)
        store64(&rec.share_nodes, nodes)
        store64(&rec.share_until_ns, until_ns)
        store64(&rec.requests_share, requests)
        store64(&rec.tokens_share, tokens)
        store64(&rec.concurrent_share, 0 if concurrent is None else <uint64_t>concurrent + 1)

    def hint(self, int slot, uint64_t now_ns):
        """Report to an open circuit that a free probe succeeded; return whether its trial is due sooner now.

        Safe at any time and from any process. At worst a request tries the target earlier, but never before a quarter of
        the wait that was set when the circuit opened.
        """
        return circuit_hint(&self.target(slot).own, now_ns)


cdef size_t block_size(
    uint32_t targets, uint32_t routes, uint32_t workers, uint32_t allowances, uint64_t pin_buckets
) noexcept nogil:
    return (
        sizeof(SharedStateHeader) + targets * sizeof(TargetRec) + routes * sizeof(RouteRec) + workers * sizeof(WorkerRec)
        + allowances * sizeof(AllowanceRec) + (allowances + 63) // 64 * sizeof(uint64_t) + pin_buckets * EDGE_LINE
    )
