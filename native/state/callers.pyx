from os import urandom

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy
from native.codec.field_list cimport FieldView, field_at
from native.codec.field_names cimport NOT_FOR_SERVICES, known_names, mark_names
from native.state.allowance cimport (
    BOUND_BUDGET, BOUND_BUDGET_HELD, BOUND_CONCURRENT, BOUND_REQUESTS, UNBOUND, Allowance, bounds_release,
    bounds_reserve, bounds_settle, bounds_take, budget_hold, budget_now, budget_release, concurrent_now, note_usage, spend,
)
from native.io.atomics cimport add32, add64, load32
from native.state.shared_state cimport (
    A_REFUSED_BUDGET, A_REFUSED_CONCURRENT, A_REFUSED_REQUESTS, A_REQUESTS, AllowanceRec, SharedState,
)
from native.state.tokens cimport LONGEST_TOKEN, Token, Tokens

cdef extern from "native/codec/sha256.h" nogil:
    void edge_sha256(const void* data, size_t size, unsigned char* out)
    void edge_sha256_plain(const void* data, size_t size, unsigned char* out)

cdef extern from "native/state/token_hash.h" nogil:
    void edge_token_hash(const void* data, size_t size, const uint64_t* key, unsigned char* out)
    bint edge_token_hash_same(const unsigned char* one, const unsigned char* other)

PRIORITIES = (b"high", b"normal", b"low")
# Retry-After of a concurrency refusal: the end of running requests is unknown.
cdef uint64_t SOON_NS = 1_000_000_000
# No key is longer, so longer credentials are not hashed, unless they may be tokens.
cdef Py_ssize_t KEY_LIMIT = 1024
# Keys whose keyed hash is kept. More are hashed by SHA-256 again when two of them meet in one place.
cdef Py_ssize_t MOST_SEEN = 4096
# A bit per size of the names of fields that may hold a credential.
cdef int CREDENTIAL_SIZES = 1 << 13 | 1 << 9 | 1 << 7 | 1 << 14
# The serial of the Callers that were made last.
cdef uint64_t made = 0


cdef bytes digest(const char* p, Py_ssize_t size):
    cdef unsigned char[32] out
    edge_sha256(p, size, out)
    return PyBytes_FromStringAndSize(<char*>out, 32)


def sha256(bytes data not None, bint plain=False):
    """Return the SHA-256 of ``data``, 32 bytes; ``plain`` = without the processor's SHA instructions."""
    cdef unsigned char[32] out
    if plain:
        edge_sha256_plain(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), out)
        return PyBytes_FromStringAndSize(<char*>out, 32)
    return digest(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))


cdef class Caller:
    """One key, with its limits.

    ``plan`` is an ``edge.terms.snapshot.Key``, ``workers`` the number of in-flight columns in use, ``alone`` = the only
    key. Raises ValueError for a limit that needs a record if the plan has no allowance.
    """

    def __init__(self, SharedState shared_state not None, plan not None, int workers, bint alone=False):
        self.plan = plan
        self.name = plan.name
        self.slot = -1 if alone else plan.slot % 64
        self.priority = plan.priority
        self.told_name = plan.name.encode()
        self.told_priority = PRIORITIES[plan.priority]
        self.workers = workers
        self.concurrent = plan.concurrent
        self.budget_nano = plan.budget_nano
        self.metered = plan.budget_nano or (plan.allowance is not None and plan.allowance.tokens_per_minute)
        if plan.allowance is not None:
            self.allowance = Allowance(shared_state, plan.allowance)
            if plan.allowance.requests_per_minute or plan.allowance.tokens_per_minute:
                self.limits = RateLimitFields(self.allowance, plan.allowance)
        elif self.concurrent or self.budget_nano:
            raise ValueError(f"the key {plan.name} has bounds and no allowance to keep them in")
        names = [name for name in plan.models if not name.startswith("service:")]
        self.everything = not plan.models
        self.models = frozenset([name.encode() for name in names if not name.endswith("/*")])
        self.providers = frozenset([name[:-2].encode() for name in names if name.endswith("/*")])
        self.services = frozenset([name[8:] for name in plan.models if name.startswith("service:")])

    def __repr__(self):
        return f"<Caller {self.name}>"

    cdef bint may_use(self, bytes model):
        cdef Py_ssize_t slash
        if self.everything or model is self.last_model:
            return True
        if model in self.models:
            self.last_model = model
            return True
        slash = model.find(b"/")
        return slash > 0 and model[:slash] in self.providers

    cdef bint may_call(self, str service):
        return self.everything or service in self.services

    def allows(self, str model not None):
        """Return whether this key may use a model, by the name in a request."""
        return self.may_use(model.encode())

    cdef int begin(self, int worker, uint64_t now_ns, uint64_t* wait_ns) noexcept:
        cdef int bound
        wait_ns[0] = 0
        if self.allowance is None:
            return UNBOUND
        bound = self._take_slot(worker, now_ns, wait_ns)
        if bound:
            return bound
        bound = bounds_take(&self.allowance.bounds, now_ns, 0, wait_ns)
        if bound:
            add32(&self.allowance.bounds.rec.inflight[worker], -1)
            add64(&self.allowance.bounds.rec.count[<int>A_REFUSED_REQUESTS + bound - 1], 1)
        return bound

    cdef void abandon(self, int worker, uint64_t now_ns) noexcept:
        if self.allowance is not None:
            add32(&self.allowance.bounds.rec.inflight[worker], -1)
            bounds_settle(&self.allowance.bounds, now_ns, 0, 0, True)

    cdef int _take_slot(self, int worker, uint64_t now_ns, uint64_t* wait_ns) noexcept:
        """Count first, then compare: two concurrent requests may both be refused, but never both get the last slot."""
        cdef AllowanceRec* rec = self.allowance.bounds.rec
        cdef int place
        cdef int value
        cdef int64_t busy = 0
        add32(&rec.inflight[worker], 1)
        if self.concurrent:
            for place in range(self.workers):
                value = <int>load32(&rec.inflight[place])
                busy += value if value > 0 else 0
            if busy > <int64_t>concurrent_now(&self.allowance.bounds, self.concurrent, now_ns):
                add32(&rec.inflight[worker], -1)
                add64(&rec.count[<int>A_REFUSED_CONCURRENT], 1)
                wait_ns[0] = SOON_NS
                return BOUND_CONCURRENT
        return UNBOUND

    cdef int enter(self, int worker, uint64_t now_ns, Reservation* reservation, uint64_t month, bint begun,
                   uint64_t* wait_ns) noexcept:
        cdef AllowanceRec* rec
        cdef int bound
        wait_ns[0] = 0
        if self.allowance is None:
            return UNBOUND
        rec = self.allowance.bounds.rec
        if self.budget_nano and month:
            bound = budget_hold(
                rec, worker, self.workers, budget_now(&self.allowance.bounds, self.budget_nano, month), month,
                reservation,
            )
            if bound:
                add64(&rec.count[<int>A_REFUSED_BUDGET], 1)
                wait_ns[0] = SOON_NS
                if begun:
                    self.abandon(worker, now_ns)
                return bound
        if not begun:
            bound = self._take_slot(worker, now_ns, wait_ns)
            if bound:
                budget_release(rec, worker, reservation)
                return bound
        bound = bounds_reserve(&self.allowance.bounds, worker, self.workers, now_ns, reservation, begun, wait_ns)
        if bound:
            budget_release(rec, worker, reservation)
            if begun:
                self.abandon(worker, now_ns)
            else:
                add32(&rec.inflight[worker], -1)
            add64(&rec.count[<int>A_REFUSED_REQUESTS + bound - 1], 1)
            return bound
        add64(&rec.count[<int>A_REQUESTS], 1)
        return UNBOUND

    cdef void leave(self, int worker, uint64_t now_ns, Reservation* reservation, uint64_t prompt, uint64_t output,
                    uint64_t cost_nano, uint64_t month, bint untouched) noexcept:
        cdef AllowanceRec* rec
        if self.allowance is None:
            return
        rec = self.allowance.bounds.rec
        add32(&rec.inflight[worker], -1)
        bounds_release(&self.allowance.bounds, worker, now_ns, reservation, prompt + output, untouched)
        note_usage(rec, prompt, output, cost_nano)
        if cost_nano:
            spend(rec, month, cost_nano)
        budget_release(rec, worker, reservation)        # after it is spent, so that nobody sees more left than there is

    cdef void repay(self, int worker, uint64_t now_ns, Reservation* reservation, uint64_t used) noexcept:
        if self.allowance is not None:
            bounds_release(&self.allowance.bounds, worker, now_ns, reservation, used, False)

    cdef add_rate_limits(self, list fields, uint64_t now_ns):
        if self.limits is not None:
            self.limits.append(fields, now_ns)

    cdef str limit_of(self, int bound):
        if bound == BOUND_CONCURRENT:
            return str(self.concurrent)
        if bound == BOUND_BUDGET or bound == BOUND_BUDGET_HELD:
            return f"{self.budget_nano / 1e9:.2f}"
        return str(
            self.plan.allowance.requests_per_minute if bound == BOUND_REQUESTS else self.plan.allowance.tokens_per_minute
        )


cdef class KeyTable:
    """The cluster's keys as one worker knows them. It outlives Snapshots, so a change of one key costs one entry.

    Args:
        make: returns the ``edge.terms.snapshot.Key`` of an entry, once, when its key is first used. ``make.want(group,
            name)`` is called when a member of a group has no record.
        workers: the number of in-flight columns in use.
    """

    def __init__(self, SharedState shared_state not None, make not None, int workers):
        self.shared_state = shared_state
        self.make = make
        self.workers = workers
        self.entries = {}
        self.priorities = frozenset()

    def __len__(self):
        return len(self.entries)

    def put(self, bytes digest not None, entry not None):
        """Add a key by its SHA-256, or replace what it leads to. Requests in flight keep what they began with."""
        self.changes += 1
        self.entries[digest] = entry

    def remove(self, bytes digest not None):
        """Remove a key, if it is there."""
        self.changes += 1
        self.entries.pop(digest, None)

    def adopt(self, dict entries not None):
        """Replace all keys: ``entries`` maps digests to entries, and belongs to this object from now on."""
        self.changes += 1
        self.entries = entries

    def lookup(self, bytes digest not None):
        """Return the Caller of a key's SHA-256, or None."""
        return self.find(digest)

    cdef Caller find(self, bytes key):
        entry = self.entries.get(key)
        if entry is not None and type(entry) is not Caller:
            entry = Caller(self.shared_state, self.make(entry), self.workers)
            self.entries[key] = entry
        return <Caller>entry


cdef Caller member_of(KeyTable table, Caller group, str name):
    """Return the caller that a member of a group is by itself, or None: it has no record yet, and one is asked for.

    Where there are too many members, the others are one caller together, whose name is ``*``. Digests of members are
    longer than those of keys, so that no key leads to one.
    """
    cdef bytes text
    if table is None:
        return None
    text = f"{group.name}\0{name}".encode()
    member = table.find(b"m" + digest(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text)))
    if member is None:
        table.make.want(group.name, name)
        text = f"{group.name}\0*".encode()
        member = table.find(b"m" + digest(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text)))
    return <Caller>member


cdef class Callers:
    """All keys of a Snapshot: ``plans`` are ``edge.terms.snapshot.Key``; ``table`` has the cluster's.

    Raises ValueError for a sha256 that is not 64 hexadecimal digits.
    """

    def __init__(self, SharedState shared_state not None, plans, int workers, KeyTable table=None):
        global made
        made += 1
        self.serial = made
        self.known = {}
        self.table = table
        self.named = {}
        self.grouped = {}
        self.certified = {}
        for plan in plans:
            caller = Caller(shared_state, plan, workers, len(plans) == 1 and table is None)
            if plan.sha256:
                key = bytes.fromhex(plan.sha256)
                if len(key) != 32:
                    raise ValueError(f"the sha256 of the key {plan.name} is not 64 hexadecimal digits")
                self.known[key] = caller
            for name in (plan.name, *plan.identities):
                self.named.setdefault(name, caller)
            for name in plan.groups:
                self.grouped.setdefault(name, caller)
            for name in plan.certificates:
                self.certified.setdefault(name, caller)
        self.secret = urandom(KEY_LIMIT + 32)
        self.seen_mask = 15 if table is None else 1023
        while self.seen_mask < 2 * <Py_ssize_t>len(self.known) and self.seen_mask < MOST_SEEN - 1:
            self.seen_mask = 2 * self.seen_mask + 1
        self.seen = <SeenKey*>calloc(self.seen_mask + 1, sizeof(SeenKey))
        if self.seen == NULL:
            raise MemoryError

    def __dealloc__(self):
        if self.seen != NULL:
            self.forget_seen()
        free(self.seen)

    cdef void forget_seen(self) noexcept:
        cdef Py_ssize_t place
        for place in range(self.seen_mask + 1):
            Py_XDECREF(<PyObject*>self.seen[place].caller)
            self.seen[place].caller = NULL

    def __len__(self):
        return len(self.named)

    cdef Caller find_credential(self, const char* p, Py_ssize_t size):
        cdef unsigned char[EDGE_TOKEN_HASH_SIZE] name
        cdef uint64_t place = 0
        cdef SeenKey* seen
        if size > KEY_LIMIT:
            return None
        if self.table is not None and self.table.changes != self.seen_changes:
            self.seen_changes = self.table.changes      # what was seen may be gone
            self.forget_seen()
        edge_token_hash(p, size, <const uint64_t*>PyBytes_AS_STRING(self.secret), name)
        memcpy(&place, name, sizeof(place))
        seen = &self.seen[place & <uint64_t>self.seen_mask]
        if seen.caller != NULL and edge_token_hash_same(seen.name, name):
            return <Caller>seen.caller
        caller = self.of_digest(digest(p, size))
        if caller is not None:
            memcpy(seen.name, name, sizeof(seen.name))
            Py_XDECREF(<PyObject*>seen.caller)
            Py_INCREF(caller)
            seen.caller = <void*>caller
        return caller

    cdef Caller find(self, list fields, int* shown, Py_ssize_t* credential_field, Tokens tokens, uint64_t now_ns):
        cdef FieldView field
        cdef Caller caller
        cdef Caller by_token = None
        cdef Token token
        cdef bytes name
        cdef const char* p
        cdef bint may_be_token
        cdef bint first_token = True
        cdef Py_ssize_t size = 0
        cdef Py_ssize_t place
        self.found_token = None
        shown[0] = SHOWN_NONE
        credential_field[0] = -1
        for place in range(PyList_GET_SIZE(fields)):
            if not field_at(fields, place, &field) or field.name_size > 14:
                continue
            p = credential_of(&field, &size) if CREDENTIAL_SIZES >> field.name_size & 1 else NULL
            if p == NULL:
                continue
            may_be_token = tokens is not None and is_token(p, size)
            if shown[0] != <int>SHOWN_TOKEN:
                shown[0] = SHOWN_TOKEN if may_be_token else SHOWN_UNKNOWN
            if size > (LONGEST_TOKEN if may_be_token else KEY_LIMIT):
                continue
            if may_be_token and first_token:
                first_token = False     # whether others are known to this worker decides nothing
                name = tokens.digest(p, size)
                token = tokens.find(name, now_ns)
                if token is not None and (token.serial == self.serial or tokens.holds(name, token)):
                    caller = self.caller_of(token)
                    if caller is not None:
                        by_token = caller
                        self.found_token = token
                        credential_field[0] = place
                        continue        # a key in another field counts more
            caller = self.find_credential(p, size)
            if caller is not None:
                shown[0] = SHOWN_KNOWN
                credential_field[0] = place
                self.found_token = None
                return caller
        if by_token is not None:
            shown[0] = SHOWN_KNOWN
        return by_token

    cdef Caller find_again(self, FieldMemo memo, list fields, int* shown, Py_ssize_t* credential_field, Tokens tokens,
                           uint64_t now_ns):
        cdef uint64_t changes = 0 if self.table is None else self.table.changes
        cdef Token token = <Token>memo.token
        # The secret stands for these Callers: an idle connection must not keep the keys of a Snapshot that is gone.
        if memo.callers is self.secret and memo.tokens is tokens and memo.changes == changes and (
            token is None or (now_ns < token.expires_ns and token.serial == self.serial)
        ):
            shown[0] = SHOWN_KNOWN
            credential_field[0] = memo.place
            return <Caller>memo.caller
        caller = self.find(fields, shown, credential_field, tokens, now_ns)
        memo.callers = None if caller is None else self.secret
        memo.tokens = tokens
        memo.caller = caller
        memo.token = self.found_token
        memo.changes = changes
        memo.place = credential_field[0]
        return caller

    cdef Caller verify(self, list fields, Py_ssize_t* credential_field, Tokens tokens, uint64_t now_ns, object peer,
                       bint* unlisted):
        cdef tuple pair
        cdef Token token
        cdef bytes name
        cdef const char* p
        cdef Py_ssize_t size = 0
        cdef Py_ssize_t place = -1
        unlisted[0] = False
        for item in fields:
            place += 1
            pair = <tuple>item
            p = credential_in(<bytes>pair[0], <bytes>pair[1], &size)
            if p == NULL or not is_token(p, size):
                continue
            if size > LONGEST_TOKEN:
                tokens.why = tokens.verifier.too_long
                return None
            name = tokens.digest(p, size)
            token = tokens.find(name, now_ns)
            if token is None:
                token = tokens.verify(name, PyBytes_FromStringAndSize(p, size), now_ns, peer)
            if token is None:
                return None
            caller = self.caller_of(token)
            if caller is None:
                unlisted[0] = True
            else:
                credential_field[0] = place
            return caller       # the first token counts: a request cannot make edge verify many
        return None

    cdef Caller caller_of(self, Token token):
        if token.serial != self.serial:
            token.serial = self.serial
            token.caller = self.named.get(token.name)
            if token.caller is None:
                for group in token.groups:
                    token.caller = self.grouped.get(group)
                    if token.caller is not None:
                        break
            if token.caller is None and token.otherwise:
                token.caller = self.named.get(token.otherwise)
            if token.caller is not None and (<Caller>token.caller).plan.apart:
                member = member_of(self.table, <Caller>token.caller, token.name)
                if member is None:
                    token.serial = 0    # look again at the next request: by then the member may have a record
                else:
                    token.caller = member
        return <Caller>token.caller

    cdef Caller caller_of_certificate(self, tuple names):
        cdef Caller found = None
        cdef Caller member = None
        for kind, name in names:
            # a URI byte by byte (RFC 3986 6.2.1), as SPIFFE IDs are; a name of DNS in any case (RFC 4343)
            if kind == "URI" and "://" in name:
                caller = self.certified.get(name)
            elif kind == "DNS" and "://" not in name:
                caller = self.certified.get(name.lower())
            else:
                continue
            if caller is not None:
                if found is not None and caller is not found:
                    return None
                found = <Caller>caller
                if found.plan.apart:
                    member = member_of(self.table, found, name if kind == "URI" else name.lower())
        return found if member is None else member

    def identify_certificate(self, tuple names not None):
        """Return the caller whose certificate has these names, as (kind, name), or None."""
        return self.caller_of_certificate(names)

    cdef bint knows(self, bytes name, bytes value, tuple used):
        cdef Py_ssize_t size = 0
        cdef Py_ssize_t used_size = 0
        cdef const char* p = credential_in(name, value, &size)
        cdef const char* q
        if p == NULL:
            return False
        if used is not None:
            q = credential_in(<bytes>used[0], <bytes>used[1], &used_size)
            if q != NULL and size == used_size and memcmp(p, q, size) == 0:
                return True
        return self.find_credential(p, size) is not None

    cdef Caller find_key(self, bytes key):
        cdef Py_ssize_t size = PyBytes_GET_SIZE(key)
        return self.find_credential(PyBytes_AS_STRING(key), size) if size else None

    cdef Caller of_digest(self, bytes key):
        cdef Caller caller = self.known.get(key)
        if caller is None and self.table is not None:
            caller = self.table.find(key)
        return caller

    def identify(self, list fields not None, Tokens tokens=None, uint64_t now_ns=0):
        """Return (Caller or None, a Shown, index of the credential's field or -1); a token is verified if it has to be.

        ``fields`` are (lower-case name, value).
        """
        cdef int shown = 0
        cdef bint unlisted = False
        cdef Py_ssize_t credential_field = -1
        caller = self.find(fields, &shown, &credential_field, tokens, now_ns)
        if shown == <int>SHOWN_TOKEN:
            caller = self.verify(fields, &credential_field, tokens, now_ns, None, &unlisted)
        return caller, shown, credential_field


cdef inline const char* credential_of(const FieldView* field, Py_ssize_t* size) noexcept:
    """Return the credential that a field holds, and its size; NULL = it is no field of credentials, or holds none."""
    cdef const char* p = field.value
    size[0] = field.value_size
    if field.name_size == 13:
        if memcmp(field.name, b"authorization", 13) != 0 or not is_bearer(p, size[0]):
            return NULL
        size[0] -= 7
        p += 7
        while size[0] and p[0] == c" ":
            p += 1
            size[0] -= 1
    elif field.name_size == 9:
        if memcmp(field.name, b"x-api-key", 9) != 0:
            return NULL
    elif field.name_size == 7:
        if memcmp(field.name, b"api-key", 7) != 0:
            return NULL
    elif field.name_size != 14 or memcmp(field.name, b"x-goog-api-key", 14) != 0:
        return NULL
    return p if size[0] else NULL


cdef const char* credential_in(bytes name, bytes value, Py_ssize_t* size) noexcept:
    cdef FieldView field
    field.name = PyBytes_AS_STRING(name)
    field.name_size = PyBytes_GET_SIZE(name)
    field.value = PyBytes_AS_STRING(value)
    field.value_size = PyBytes_GET_SIZE(value)
    return credential_of(&field, size)


cdef bint is_token(const char* p, Py_ssize_t size) noexcept:
    """Return whether a credential looks like a JWT: base64url of ``{"`` (RFC 7519 3.1)."""
    return size > 32 and p[0] == c"e" and p[1] == c"y" and p[2] == c"J"


cdef bint is_bearer(const char* p, Py_ssize_t size) noexcept:
    """Return whether a value begins with "Bearer" in any case and a space (RFC 6750 2.1, RFC 9110 11.1)."""
    cdef const char* word = b"bearer "
    cdef int i
    if size < 8:
        return False
    for i in range(7):
        if (p[i] | 32 if i < 6 else p[i]) != word[i]:
            return False
    return True


cdef mark_credentials():
    cdef Py_ssize_t size = 0
    cdef list found = []
    for name in known_names():
        if credential_in(<bytes>name, b"Bearer x", &size) != NULL:
            found.append(name)
    mark_names(found, NOT_FOR_SERVICES)


mark_credentials()
