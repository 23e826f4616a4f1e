"""Checks of ``shadow``: that its target can be asked, and that what is copied may be carried out twice."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from edge.config import check_network
from edge.config.problems import Path, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.config.schema import Config, Model, Service

_METHOD: Final = re.compile(r"[A-Z]{1,32}")


def of_model(config: Config, path: Path, model: Model) -> Iterator[Problem]:
    """Check the shadow of a model, beyond what every target of a model must satisfy."""
    if model.shadow is None:
        return
    name = model.shadow.target.partition("/")[0]
    provider = config.providers.get(name)
    if provider is not None and provider.discover:
        sentence = (
            f"the addresses of {name} are discovered, and copies go to one address; write a provider with base_url"
        )
        yield Problem((*path, "shadow", "target"), sentence)


def of_service(config: Config, path: Path, service: Service) -> Iterator[Problem]:
    """Check the shadow of a service."""
    shadow = service.shadow
    if shadow is None:
        return
    yield from check_network.service_target(config, (*path, "shadow", "target"), shadow.target)
    at = (*path, "shadow", "methods")
    if not shadow.methods:
        yield Problem(at, "no method is copied then; write one, such as GET, or remove shadow")
    for index, method in enumerate(shadow.methods):
        if method == "CONNECT" or not _METHOD.fullmatch(method):
            yield Problem((*at, index), f"{method!r} is not a method that can be copied; write one such as GET or POST")
    if service.match.grpc and "POST" not in shadow.methods:
        sentence = (
            "gRPC calls are POST, so none is copied; write methods: [POST] if its calls may be carried out twice, "
            "or remove shadow"
        )
        yield Problem(at, sentence)
