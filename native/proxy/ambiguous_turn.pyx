from native.proxy.model_request cimport ModelRequest
from native.proxy.needs cimport may_act_at_provider
from native.proxy.socket_turn cimport SocketTurn
from native.state.shared_state cimport (
    CANCELLED, DEADLINE, FAIL_FIRST_BYTE, FAIL_FIRST_TOKEN, FAIL_MALFORMED, FAIL_RESET, FAIL_STALLED, FAIL_TRUNCATED,
)

# What ends an attempt without a word of its target about the request. The others are refusals, or nothing was sent.
cdef enum:
    WORDLESS = (
        1 << FAIL_RESET | 1 << FAIL_FIRST_BYTE | 1 << FAIL_FIRST_TOKEN | 1 << FAIL_STALLED | 1 << FAIL_MALFORMED
        | 1 << FAIL_TRUNCATED | 1 << CANCELLED | 1 << DEADLINE
    )


cdef bint is_ambiguous(Request request, Attempt attempt, int outcome):
    cdef bytes content
    if not isinstance(request.stream, SocketTurn) or not attempt.sent or attempt.refused or (
        not <int>WORDLESS >> outcome & 1
    ):
        return False
    if attempt.head is not None and attempt.head.status >= 300:
        return False        # refused, although the rest of what it said was lost
    content = (<ModelRequest>request).content
    return (<ModelRequest>request).stored or content is None or may_act_at_provider(content)


cdef int note_ambiguous(Request request) except -1:
    (<SocketTurn>request.stream).ambiguous = True
