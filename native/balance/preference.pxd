"""Ranks the members of a pool by what they cost or by how quick they are, and tells what that saves."""

from libc.stdint cimport int64_t, uint64_t
from native.balance.balancer cimport TargetPool
from native.balance.price cimport Used
from native.state.shared_state cimport RouteRec

cpdef enum Preference:          # which usable target of a tier is asked
    PREFER_ORDER = 0            # the less loaded of two
    PREFER_COST = 1             # the cheapest
    PREFER_LATENCY = 2          # the quickest

# Set the ranks for the next pick. ``model``: as for Target.price_of.
cdef int rank_by_cost(TargetPool pool, RouteRec* rec, bytes model, uint64_t now_ns) except -1
cdef void rank_by_latency(TargetPool pool, int latency_cell, uint64_t now_ns) noexcept
# What an answer cost less than if its tier had been asked by weights, in US dollars * 1e9; below 0 = it cost more.
cdef int64_t saved_nano(TargetPool pool, int index, bytes model, const Used* used) except? -1
# How much sooner it began than its tier usually does, in us.
cdef int64_t saved_us(TargetPool pool, int index, int latency_cell, uint64_t took_ns, uint64_t now_ns) noexcept
