"""Tells when nobody knows whether a turn on a WebSocket was carried out, so that it must not be asked again."""

from native.proxy.attempt cimport Attempt
from native.proxy.request cimport Request

# Return whether a turn was sent to a target that neither refused it nor answered, and leaves a trace where it is carried
# out: its response is stored, or its provider acts itself (native.proxy.needs.may_act_at_provider).
cdef bint is_ambiguous(Request request, Attempt attempt, int outcome)
# The turn ends with an error that says so, whatever else edge would say.
cdef int note_ambiguous(Request request) except -1
