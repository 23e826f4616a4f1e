"""An error of edge's own on an HTTP/2 connection ends that connection with INTERNAL_ERROR, and is reported."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from h2peer import FrameClient, Upstream, plain, request, service
from one_data_plane import one_data_plane
from soon import until

from edge.listen import reply

if TYPE_CHECKING:
    import pytest

INTERNAL_ERROR = 2


async def test_an_exception_comes_out_of_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is raised while a frame is handled reaches the loop's exception handler once, and harms no other client."""

    def fail(*_: object) -> NoReturn:
        raise LookupError("this reply cannot be written")

    async with Upstream(plain()) as upstream, one_data_plane(service(upstream.address)) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            monkeypatch.setattr(reply, "problem", fail)
            client.ask(1, request("GET", "/v1/models/none"))
            assert await client.goaway() == INTERNAL_ERROR
            await until(lambda: bool(data_plane.thread.faults))
            monkeypatch.undo()
        raised = [fault["exception"] for fault in data_plane.thread.faults]
        assert [str(error) for error in raised] == ["this reply cannot be written"]
        data_plane.thread.faults.clear()  # it was expected; others fail the test at its end
        async with FrameClient.connect(data_plane.port) as client:
            client.ask(1)
            assert await client.answer(1) == 200
