"""Holds what all exchanges of one worker share: the router, the hooks, clocks, chance, counters and limits."""

from libc.stdint cimport int64_t, uint64_t
from native.http.stream cimport Acceptor, ClientCertificate, Share
from native.io.timer_wheel cimport Wheel
from native.proxy.questions cimport Questions
from native.proxy.record cimport Recorder
from native.proxy.router cimport Route, Router
from native.state.issued_ids cimport IssuedIds
from native.state.shared_state cimport SharedState, WorkerRec
from native.state.tokens cimport Tokens

cdef uint64_t NEVER

cdef struct Limits:             # of edge.terms.snapshot.Limits, under the same names
    Py_ssize_t body             # bytes of a model's request
    Py_ssize_t max_response     # bytes of a whole answer that is held and checked
    Py_ssize_t retry_buffer     # bytes of a service's request that may be sent again
    uint64_t keepalive_comment_ns
    uint64_t idle_ns
    uint64_t client_idle_ns

cdef class Runtime:
    cdef readonly SharedState shared_state
    cdef WorkerRec* meter               # what the worker counts
    cdef readonly int worker            # its column
    cdef readonly Router router
    cdef Acceptor acceptor              # limits the bytes of requests that are held
    cdef Limits limits
    # hooks; native.proxy.hooks has their Protocols
    cdef object replies                 # Replies
    cdef object local                   # LocalHandler
    cdef object retry_hint, peer_names_match        # functions, see Hooks
    cdef object calls                   # LocalCalls; None = edge answers no gRPC call itself
    cdef object translations            # Translations; None = requests reach targets of their own dialect only
    cdef object sink                    # RecordSink; None = nothing is recorded
    cdef IssuedIds issued               # None = no id is remembered
    cdef object kept                    # Kept; None = no id in a body is read
    cdef object cache                   # Cache; None = no answer is kept
    cdef Questions questions            # the names of what was asked of it; None = there is no cache
    cdef Tokens all_tokens              # None = no token is accepted, whatever the Snapshot says
    cdef Tokens tokens                  # None = the Snapshot names no issuer of tokens
    cdef Wheel deadlines                # of exchanges, 10 ms
    cdef dict detached                  # target id -> native.proxy.detached.DetachedAttempt
    cdef list copies                    # native.proxy.shadow: copies that have not begun, and streams of those to end
    cdef set sockets                    # native.proxy.responses_socket.ResponsesSockets that are open
    cdef Share copy_share               # what copies have the worker hold
    cdef readonly int active            # exchanges in flight
    cdef bint cutting                   # exchanges in flight are being ended: no attempt is started
    cdef list crowded                   # routes with waiting exchanges, of older Snapshots too
    cdef object on_place_free           # called once when a place becomes free while exchanges wait
    cdef object on_active               # called when an exchange begins while the tick is slow
    cdef bint quick                     # the tick runs at full pace
    cdef bint nudged                    # on_place_free has been called and has not served yet
    cdef uint64_t chance                # xorshift state
    cdef uint64_t serial
    cdef bytes prefix                   # of request ids
    cdef tuple date                     # the Date field of answers
    cdef uint64_t date_until_ns         # ... and until when it holds
    cdef uint64_t month, month_end_ns   # months since year 0 (UTC), and when this one ends
    cdef bytes region
    cdef tuple region_field             # the x-edge-region field of answers
    cdef Recorder recorder
    cdef bint regional                  # peers are configured, so a request may come from another region's edge
    cdef bytes peer_token               # None = no token is configured
    cdef tuple peer_names               # allowed names in certificates; empty = none
    cdef configure(self, Router router)
    cdef bint is_peer(self, ClientCertificate certificate)
    cdef uint64_t random(self) noexcept
    cdef double unit_random(self) noexcept          # 0 <= x < 1
    cdef tuple date_field(self, uint64_t now_ns)    # the Date field of an answer, made once a second
    cdef bytes next_id(self)
    cdef exchange_begun(self)                       # count an exchange as in flight
    cdef int wait_for_place(self, Route route) except -1     # an exchange waits in that route's queue
    cdef int place_freed(self) except -1
    cdef void update_month(self, uint64_t now_ns) noexcept
    # Return how long an answer asks to stay away, in ns, at most an hour; 0 = it does not ask. content: the body of an
    # error, which may say so too; None = it is not known.
    cdef uint64_t retry_after_ns(self, list fields, bytes content)
