cimport cython
from native.proxy.accounting cimport dearest
from native.proxy.model_request cimport ModelRequest
from native.state.allowance cimport BOUND_BUDGET

cdef Charge new_charge(Request request):
    cdef Charge charge = Charge.__new__(Charge)
    charge.request = request
    return charge


@cython.freelist(64)
cdef class Charge:
    """What one exchange costs its caller."""

    def __repr__(self):
        return f"<Charge {self.prompt_tokens}+{self.output_tokens} tokens>"

    cdef int reserve(self, uint64_t now, uint64_t* wait_ns) noexcept:
        cdef Request request = self.request
        cdef Reservation* reservation = &self.reservation
        cdef bint paid = False      # a service costs no money, so its month is 0 and no budget applies
        cdef int bound
        if request.identity.caller is None:
            return 0
        if request.bound:
            wait_ns[0] = request.bound_wait_ns
            return request.bound
        reservation.usual = request.prompt_guess + request.output_guess
        reservation.worst = request.prompt_guess + request.output_worst
        if request.identity.caller.budget_nano and request.is_model():
            paid = True
            dearest(<ModelRequest>request, &reservation.usual_nano, &reservation.worst_nano)
        bound = request.identity.caller.enter(
            request.runtime.worker, now, reservation, request.runtime.month if paid else 0, request.begun, wait_ns,
        )
        request.begun = False       # settle() gives it back, if it was not refused
        self.held = bound == 0
        if bound == <int>BOUND_BUDGET:
            wait_ns[0] = request.runtime.month_end_ns - now if request.runtime.month_end_ns > now else 1
        return bound

    cdef void add(self, Usage* usage) noexcept:
        self.prompt_tokens += <uint64_t>usage.prompt_tokens
        self.output_tokens += <uint64_t>usage.output_tokens
        self.cost_nano += usage.cost_nano
        usage.prompt_tokens = usage.output_tokens = 0
        usage.cost_nano = 0

    cdef void repay(self, uint64_t now) noexcept:
        cdef Request request = self.request
        if self.held:
            request.identity.caller.repay(
                request.runtime.worker, now, &self.reservation, self.prompt_tokens + self.output_tokens
            )

    cdef void settle(self, uint64_t now) noexcept:
        cdef Request request = self.request
        if self.held:
            self.held = False
            request.identity.caller.leave(
                request.runtime.worker, now, &self.reservation, self.prompt_tokens, self.output_tokens,
                self.cost_nano, request.runtime.month, not request.reached,
            )
