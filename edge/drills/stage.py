"""What a drill plays on: the user's configuration, compiled as a node compiles it, and who is who in it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct, structs

from edge.config.files import read_file
from edge.config.load import read_text
from edge.control.compose import checked, compile_config
from edge.errors import DrillError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.terms.snapshot import Snapshot, Target

EXAMPLE: Final = Path(__file__).with_name("example.yaml")
MADE_UP: Final = "made-up-for-a-drill-"
"""How the value of a variable that the environment lacks begins. Nothing leaves the process, so no secret is needed."""


Role = Literal["primary", "backup", "region"]
"""What a target is in a drill: of the preferred provider, of another one, or another region's edge."""


class Place(Struct, frozen=True):
    """One target of the route that is drilled, best first."""

    target: Target
    tier: int
    weight: float
    role: Role


class Stage(Struct, frozen=True):
    """A compiled configuration."""

    source: str  # where it comes from, for the report
    snapshot: Snapshot
    route: str
    places: tuple[Place, ...]
    callers: tuple[str, ...]  # names of the keys that may ask for the route; empty: no key is asked for

    @property
    def primary(self) -> str:
        """The preferred provider."""
        return self.places[0].target.provider


class _Filled(Mapping[str, str]):
    """An environment in which every variable is set."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def __getitem__(self, name: str) -> str:
        return self._environ.get(name, MADE_UP + name)  # each its own: the reader finds a variable by its value

    def __contains__(self, name: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(self._environ)

    def __len__(self) -> int:
        return len(self._environ)


def secret_of(caller: str) -> str:
    """Return the key that a caller shows in a drill, in place of the real one, of which edge knows only a digest."""
    return f"drill-{caller}"


def set_stage(path: Path | None, *, route: str = "", environ: Mapping[str, str], now: float) -> Stage:
    """Read, check and compile a configuration; None: the example.

    Args:
        path: the file.
        route: the model that is drilled; "": the first one.
        environ: the environment; what it lacks is made up where the file names no default.
        now: Unix time.

    Raises:
        ConfigInvalidError: the configuration is invalid.
        DrillError: it has no such model, or no target to ask.
    """
    file = path or EXAMPLE
    source = "the shipped example" if path is None else str(path)
    try:
        text = read_file(file).decode()
    except OSError as error:
        raise DrillError(f"{source}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DrillError(f"{source}: cannot be read: it is not UTF-8 text") from error
    document = read_text(text, file.name, file.absolute().parent, _Filled(_defaulted(text, environ)))
    snapshot = compile_config(checked(document), now=now)
    name = route or next((model for model in snapshot.models if "*" not in model and "/" not in model), "")
    if name not in snapshot.models:
        known = ", ".join(snapshot.models) or "none"
        raise DrillError(f"{source}: there is no model {name!r} to drill; models are {known}")
    plan = snapshot.routes[snapshot.models[name]]
    snapshot = structs.replace(
        snapshot,
        # the model of the outside speaks HTTP/1.1, whatever the provider offers, and no keys are fetched to sign with
        targets=tuple(structs.replace(target, protocol="http1", signing=None) for target in snapshot.targets),
        # nobody can issue tokens for a drill: callers show keys, or nothing where only tokens are accepted
        issuers=(),
        listeners=tuple(
            structs.replace(listener, allow_anonymous=listener.allow_anonymous or not snapshot.keys)
            for listener in snapshot.listeners
        ),
        keys=tuple(
            structs.replace(key, sha256=hashlib.sha256(secret_of(key.name).encode()).hexdigest())
            for key in snapshot.keys
        ),
    )
    members = sorted(plan.members, key=lambda member: member.tier)
    if not members:
        raise DrillError(f"{source}: the model {name!r} has no target; write models.{name}.targets")
    targets = [snapshot.targets[member.target] for member in members]
    primary = targets[0].provider
    places = [
        Place(
            target,
            member.tier,
            member.weight,
            "region" if target.kind == "region" else "primary" if target.provider == primary else "backup",
        )
        for target, member in zip(targets, members, strict=True)
    ]
    callers = tuple(key.name for key in snapshot.keys if not key.models or name in key.models)
    if snapshot.keys and not callers:
        raise DrillError(f"{source}: no key may ask for {name!r}; write it in keys[].models, or drill another --model")
    return Stage(source if path is None else path.name, snapshot, name, tuple(places), callers)


def _defaulted(text: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without what is empty, and with the defaults that the file itself names."""
    found = {name: value for name, value in environ.items() if value}
    for part in text.split("${")[1:]:
        name, mark, default = part.partition("}")[0].partition(":-")
        if mark:
            found.setdefault(name, default)
    return found
