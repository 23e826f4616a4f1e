"""The same requests without edge: one provider alone, or a fallback list in the application, without circuit breakers.

Both ask the same models of providers, with the same patience. A fallback list asks the targets in order. It goes on
after a timeout, a 429 or a 5xx, and remembers nothing: the next request begins at the first target again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from edge.drills.agenda import Agenda
from edge.drills.results import NS, Results
from edge.drills.upstream import CONNECT_S

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge.drills.load import Request
    from edge.drills.results import Minute
    from edge.drills.upstream import Plan, Upstream
    from edge.native import Price

TIMEOUT_S: Final = 30.0
"""How long a fallback list waits for the first token of one target. The default of many SDKs is ten minutes."""
_OK: Final = 200
_TOO_MANY: Final = 429
_SERVER: Final = 500


class _Try(Struct):
    request: Request
    minute: Minute
    place: int = 0  # of the target that is asked, in the list
    status: str = ""  # of the last refusal


class Alone:
    """Callers that ask providers themselves.

    Args:
        upstreams: the targets, in the order in which they are asked.
        prices: what each costs, by target.
        minutes: how many minutes requests come.
        timeout_s: for the first token of one target; 0: the caller's whole patience.
        patience_s: how long a caller waits for the whole answer.
        blind: as for Results.
    """

    def __init__(
        self,
        upstreams: Sequence[Upstream],
        prices: dict[str, Price],
        *,
        minutes: int,
        timeout_s: float,
        patience_s: float,
        blind: tuple[float, float] | None = None,
    ) -> None:
        self.results = Results(minutes, blind)
        self._upstreams = upstreams
        self._prices = prices
        self._patience_s = patience_s
        self._timeout_s = timeout_s or patience_s
        self._agenda = Agenda()
        self._now_ns = 0

    def run(self, requests: Iterable[Request]) -> Results:
        """Let all requests come and end."""
        self._coming = iter(requests)
        self._await_next(None)
        while (due_ns := self._agenda.next_ns) is not None:
            self._now_ns = due_ns
            act, about = self._agenda.take()
            act(about)
        for upstream in self._upstreams:
            self.results.attempts[upstream.name] = upstream.asked
            self.results.most[upstream.name] = upstream.most
            self.results.refused[upstream.name] = upstream.refused
        return self.results

    def _after(self, seconds: float, act: object, about: object) -> None:
        self._agenda.note(self._now_ns + int(seconds * NS), act, about)  # type: ignore[arg-type]

    def _await_next(self, request: Request | None) -> None:
        following = next(self._coming, None)
        if following is not None:
            self._agenda.note(following.at_ns, self._await_next, following)
        if request is not None:
            self._ask(_Try(request, self.results.begun(request)))

    def _waited_s(self, one: _Try) -> float:
        return (self._now_ns - one.request.at_ns) / NS

    def _ask(self, one: _Try) -> None:
        left_s = self._patience_s - self._waited_s(one)
        if one.place >= len(self._upstreams) or left_s <= 0:
            self.results.failed(one.minute, one.status if left_s > 0 and one.status else "left")
            return
        upstream = self._upstreams[one.place]
        if upstream.condition(self._now_ns / NS).refused:
            one.status = "connect"
            self._after(CONNECT_S, self._next, one)
            return
        plan = upstream.begin(one.request, self._now_ns / NS)
        wait_s = min(self._timeout_s, left_s)
        if plan.kind == "never" or plan.first_s > wait_s:
            one.status = "left"
            self._after(wait_s, self._give_up, one)
        elif plan.kind == "refusal":
            self._after(plan.first_s, self._refused, (one, plan))
        elif plan.total_s > left_s:
            self._after(left_s, self._give_up, one)
        else:
            self._after(plan.total_s, self._answered, (one, self._waited_s(one) + plan.first_s))

    def _next(self, one: _Try) -> None:
        one.place += 1
        self._ask(one)

    def _give_up(self, one: _Try) -> None:
        self._upstreams[one.place].end()
        self._next(one)

    def _refused(self, about: tuple[_Try, Plan]) -> None:
        one, plan = about
        one.status = str(plan.status)
        self._upstreams[one.place].end()
        if plan.status == _TOO_MANY or plan.status >= _SERVER:
            self._next(one)
        else:
            self.results.failed(one.minute, one.status)

    def _answered(self, about: tuple[_Try, float]) -> None:
        one, first_s = about
        upstream = self._upstreams[one.place]
        upstream.end()
        if upstream.stands_still(self._now_ns / NS) or upstream.condition(self._now_ns / NS).refused:
            self.results.failed(one.minute, "broken")
            return
        if not one.request.stream:
            first_s = self._waited_s(one)
        self.results.picture(one.request, "answered")
        price = self._prices.get(upstream.name)
        if price is not None:
            self.results.cost_usd += price.cost_of(prompt=one.request.prompt, output=one.request.answer) / NS
        self.results.answered(one.minute, upstream.name, first_s)
