"""Finds the caller of a request by its key, certificate or token, and enforces the key's limits.

Keys are compared by their SHA-256 once, and then by a keyed hash, as tokens are. None is kept in the clear."""

from libc.stdint cimport int64_t, uint64_t
from native.codec.head cimport FieldMemo
from native.state.allowance cimport Allowance, Reservation
from native.state.rate_limit_fields cimport RateLimitFields
from native.state.shared_state cimport SharedState
from native.state.tokens cimport Token, Tokens

cdef extern from "native/state/token_hash.h":
    enum: EDGE_TOKEN_HASH_SIZE

cdef struct SeenKey:
    unsigned char[EDGE_TOKEN_HASH_SIZE] name    # the keyed hash of the key
    void* caller                # a Caller, with a reference; NULL = none

cdef enum Shown:
    SHOWN_NONE = 0          # the request has no credential that could be a key
    SHOWN_UNKNOWN = 1       # the request has credentials, but none is a key of this Snapshot
    SHOWN_KNOWN = 2
    SHOWN_TOKEN = 3         # ... or none is a key, and one is a token that is to be verified

cdef enum Priority:
    HIGH = 0
    NORMAL = 1                  # the default
    LOW = 2                     # never queued, and shed first

cdef tuple PRIORITIES           # their names by number, as sent to another region's edge

cdef class Caller:
    """One key of the Snapshot, with its limits."""
    cdef readonly object plan       # edge.terms.snapshot.Key
    cdef readonly str name
    cdef readonly int slot          # the key's place in the breakers' bit maps; -1 = the only key
    cdef readonly int priority      # a Priority
    cdef readonly Allowance allowance
    cdef readonly bint everything   # the key may use all models and services
    cdef bytes last_model           # the one of ``models`` that was asked for last
    cdef frozenset models           # bytes: aliases and provider/model
    cdef frozenset providers        # bytes: of provider/*
    cdef frozenset services         # str
    cdef bint metered               # tokens or money are bounded
    cdef int workers, concurrent
    cdef uint64_t budget_nano
    cdef object share               # a native.http.stream.Share, which the data plane keeps by name; None = not used yet
    cdef bytes told_name, told_priority    # the caller's name and priority, as sent to another region's edge
    cdef RateLimitFields limits     # None = responses carry no x-ratelimit-* fields
    cdef bint may_use(self, bytes model)
    cdef bint may_call(self, str service)
    # Take one request, the reservation's tokens and money, and a concurrency slot; return 0, or the Bound that refuses.
    # After 0 the exchange must call ``leave``, which gives back what was not used. month 0: no budget applies.
    # begun: begin() has taken the request and the slot; a refusal gives them back.
    cdef int enter(self, int worker, uint64_t now_ns, Reservation* reservation, uint64_t month, bint begun,
                   uint64_t* wait_ns) noexcept
    # Take one request and a concurrency slot for a request whose body has not come; return 0, or the Bound that refuses.
    # After 0 enter() or abandon() follows.
    cdef int begin(self, int worker, uint64_t now_ns, uint64_t* wait_ns) noexcept
    cdef void abandon(self, int worker, uint64_t now_ns) noexcept
    cdef int _take_slot(self, int worker, uint64_t now_ns, uint64_t* wait_ns) noexcept
    cdef void leave(self, int worker, uint64_t now_ns, Reservation* reservation, uint64_t prompt, uint64_t output,
                    uint64_t cost_nano, uint64_t month, bint untouched) noexcept
    # Correct the reserved tokens to the ``used`` ones before the end.
    cdef void repay(self, int worker, uint64_t now_ns, Reservation* reservation, uint64_t used) noexcept
    cdef add_rate_limits(self, list fields, uint64_t now_ns)    # append the x-ratelimit-* fields
    cdef str limit_of(self, int bound)              # the limit in words, for an error message

cdef class KeyTable:
    """The cluster's keys, beside those of Snapshots."""
    cdef SharedState shared_state
    cdef object make                # (entry) -> edge.terms.snapshot.Key
    cdef int workers
    cdef uint64_t changes           # that were made
    cdef dict entries               # digest -> Caller, or the entry that it is made of at its first request
    cdef public bint complete       # False = the cluster's keys are not known yet
    cdef public bint in_use         # the cluster has, or had, a key; so callers need one
    cdef public bint metered        # tokens or money of a key are bounded
    cdef public frozenset priorities    # of its keys, as numbers
    cdef Caller find(self, bytes key)

cdef class Callers:
    """All keys of a Snapshot, and the cluster's."""
    cdef dict known                 # SHA-256 -> Caller; never changes
    cdef readonly KeyTable table    # None = there is no cluster
    # Keys that were seen, by a place that their keyed hash gives: SHA-256 takes ten times as long. All are forgotten with
    # the Snapshot, and when a key of the cluster changes, so that a key that was withdrawn is unknown at once.
    cdef SeenKey* seen
    cdef Py_ssize_t seen_mask       # one less than the places
    cdef uint64_t seen_changes      # of the table, when the first of them was seen
    cdef bytes secret               # the key of the hash, of these Callers alone
    cdef dict named                 # name of an identity -> Caller
    cdef dict certified             # name in a certificate -> Caller
    cdef dict grouped               # name of a group -> Caller
    cdef Token found_token          # by which find() has found the last caller; None = by a key
    cdef uint64_t serial            # tells these Callers from those of other Snapshots
    # Return the caller whose key, or whose verified token, is among these fields; or None. Sets ``shown`` to a Shown,
    # and ``credential_field`` to the index of the credential's field. tokens: None = tokens do not count.
    cdef Caller find(self, list fields, int* shown, Py_ssize_t* credential_field, Tokens tokens, uint64_t now_ns)
    # The same for fields that heads of a connection share: while nothing has changed, the caller is not looked for again.
    cdef Caller find_again(self, FieldMemo memo, list fields, int* shown, Py_ssize_t* credential_field, Tokens tokens,
                           uint64_t now_ns)
    # After SHOWN_TOKEN: verify the token, and return its caller. None = it is refused, and tokens.why is the reason; or
    # no key is for it, and ``unlisted`` is set. peer: the client's (host, port).
    cdef Caller verify(self, list fields, Py_ssize_t* credential_field, Tokens tokens, uint64_t now_ns, object peer,
                       bint* unlisted)
    cdef Caller caller_of(self, Token token)
    # The caller whose client certificate has these names, as (kind, name); None = no key is for one, or several are.
    cdef Caller caller_of_certificate(self, tuple names)
    # Whether the field holds a key, or what the field ``used`` holds, which admitted the caller; None = no field did.
    cdef bint knows(self, bytes name, bytes value, tuple used)
    cdef void forget_seen(self) noexcept
    cdef Caller find_credential(self, const char* p, Py_ssize_t size)      # the caller of a key, or None
    cdef Caller find_key(self, bytes key)           # the caller of a key in the clear, or None
    cdef Caller of_digest(self, bytes key)          # the caller of a key's SHA-256, or None
