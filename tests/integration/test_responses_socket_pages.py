"""A page of elsewhere in a browser with a client certificate opens no WebSocket in the name of the certificate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from one_data_plane import models, one_data_plane
from test_certificate_callers import KEYS, LISTEN, WEB
from test_regions_certified import Authority
from test_responses_socket_wire import NOWHERE
from turns import asked
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_page_with_a_certificate(tmp_path: Path) -> None:
    """A WebSocket with a foreign Origin is refused; without one, and of edge's own origin, it is opened."""
    authority = Authority(tmp_path)
    tls = authority.client(WEB, "http/1.1")
    async with one_data_plane(models(NOWHERE, extra=LISTEN + KEYS), tmp_path) as plane:
        url = f"wss://127.0.0.1:{plane.port}/v1/responses"
        with pytest.raises(InvalidStatus) as refused:
            async with connect(url, ssl=tls, proxy=None, origin=_origin("https://elsewhere.example")):
                pass
        assert refused.value.response.status_code == 403
        assert b"foreign_page" in (refused.value.response.body or b"")
        for origin in (None, _origin(f"https://127.0.0.1:{plane.port}")):
            async with connect(url, ssl=tls, proxy=None, origin=origin) as socket:
                (error,) = await asked(socket, model="nothing")
                assert error["error"]["code"] == "model_not_found"


def _origin(text: str) -> Origin:
    """Return an origin as the client takes it."""
    return Origin(text)
