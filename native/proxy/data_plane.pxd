"""What does one worker's data path share between its exchanges?  Router, pools, wheels, meters, chance and names."""

from libc.stdint cimport uint64_t
from native.state.shared_state cimport SharedState, WorkerRec
from native.proxy.record cimport Recorder
from native.proxy.router cimport Route, Router
from native.http.stream cimport Acceptor, ClientCertificate
from native.io.timer_wheel cimport Wheel

cdef class DataPlaneCore(Acceptor):
    cdef readonly SharedState shared_state
    cdef WorkerRec* meter               # what the worker counts
    cdef readonly int worker
    cdef readonly Router router
    cdef object opener, local, reply, rest, calls
    cdef Wheel fine                     # exchange deadlines, 10 ms
    cdef object loop, ticking
    cdef list crowded                   # routes that somebody waits for, of older Snapshots too
    cdef bint nudged                    # they are served as soon as the loop comes round
    cdef bint cutting                   # what is in flight ends now: nothing is tried again
    cdef uint64_t due_ns                # when the next tick is due
    cdef bint late                      # it came much later, and what has come meanwhile is read first
    cdef bint quick                     # the tick runs at full pace
    cdef readonly int active            # exchanges in flight
    cdef uint64_t chance                # xorshift state
    cdef uint64_t swept_ns
    cdef uint64_t serial
    cdef uint64_t month, month_end_ns   # since year 0 (UTC), and when it will be over: the tick looks
    cdef bytes prefix
    cdef dict pools                     # target id -> ConnectionPool, kept over a swap when the plan is the same
    cdef Py_ssize_t body_limit, answer_limit, replay_limit
    cdef uint64_t comment_ns
    cdef bytes region
    cdef tuple told_region              # as answers tell it
    cdef Recorder recorder              # what is kept of exchanges that are over
    cdef object records                 # (records) -> taken?: where they go
    cdef uint64_t flushed_ns
    cdef bint regional                  # other regions' edges are told from clients: by either of these two
    cdef bytes peer_token               # what they show; None = there is none to show
    cdef tuple peer_names               # what their certificates are made out to; empty = none is believed
    cdef object named                   # (alternatives, names) -> is it one of them?
    cdef bint knows(self, ClientCertificate who)
    cdef uint64_t random(self) noexcept
    cdef bytes next_id(self)
    cdef flush(self, uint64_t now)      # hand on what was recorded
    cdef void crowd(self, Route route)  # somebody waits for it
    cdef void nudge(self)               # a place is free: serve who waits, soon
    cdef serve(self, uint64_t now_ns)
    cdef void look_at_calendar(self, uint64_t now_ns) noexcept
    cdef void tick_in(self, double seconds)
    cdef void wake(self)                # an exchange began: tick at full pace
