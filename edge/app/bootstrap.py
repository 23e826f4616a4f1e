"""The initial configuration of a node: its file, or the last good configuration on disk if the file is unusable."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct, structs

from edge import clock
from edge.config.check import check
from edge.config.check_discovery import sources
from edge.config.load import read
from edge.config.problems import errors
from edge.config.shared_keys import has_members, shares_keys
from edge.control.compose import compile_config
from edge.control.file_watch import mark_of
from edge.control.kept_file import StateUnusableError
from edge.control.ledger import Ledger
from edge.control.state import StateFile, default_folder
from edge.errors import ConfigInvalidError
from edge.providers import KNOWN
from edge.telemetry import logs
from edge.terms.snapshot import Snapshot  # noqa: TC001  # msgspec reads the annotation at run time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge.config.schema import Config


class Bootstrap(Struct, frozen=True):
    """What a node starts with. ``notices`` are lines for the banner."""

    ledger: Ledger
    snapshot: Snapshot
    state_dir: str = ""
    notices: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether ``snapshot`` has all that requests need, so that workers may serve with it before control runs.

        Control adds addresses that sources name, signing keys, tokens of providers, and callers' keys of the cluster.
        """
        config = self.ledger.config
        return not (_asks_others(config) or shares_keys(config) or has_members(config))


def from_file(path: Path, state_dir: str | None, environ: Mapping[str, str]) -> Bootstrap:
    """Read a node's file, or the last good configuration that the node stored.

    Args:
        path: absolute, but not resolved: symlinks are followed anew at each reload.
        state_dir: folder of the stored state, overriding the file; "": store nothing; None: as the file says.
        environ: environment variables, for the default folder.

    Raises:
        ConfigInvalidError: the file cannot be used, and there is no stored state or it cannot be used either.
    """
    source = str(path)
    mark = mark_of(source)
    document = read(path)
    found = check(document, KNOWN)
    folder = _folder(document.config if state_dir is None else None, state_dir, environ)
    refused = errors(found)
    if refused:
        texts = [problem.text(source) for problem in refused]
        return _from_state(
            Ledger(document.config, source=source, mark=mark, secret_files=document.secret_files), folder, texts
        )
    for problem in found:
        logs.say(logs.WARNING, problem.text(source))
    if not folder:
        logs.say(logs.INFO, "no state is kept on disk: the node cannot start again without its configuration file")
    stored = _stored(document.config, folder, source)
    known, signing = ({}, {}) if stored is None else (stored.found, stored.signing)
    tokens = {} if stored is None else stored.tokens
    snapshot = compile_config(document.config, now=clock.wall(), found=known, signing=signing, tokens=tokens)
    ledger = Ledger(document.config, source=source, mark=mark, found=known, signing=signing, tokens=tokens)
    ledger = structs.replace(ledger, secret_files=document.secret_files)
    return Bootstrap(ledger, snapshot, folder)


def _stored(config: Config, folder: str, source: str) -> Snapshot | None:
    """Return the Snapshot from before the node was stopped, if its sources or its issuers may have said something.

    With what they said the node starts while they are dark.
    """
    if not folder or not _asks_others(config):
        return None
    try:
        stored = StateFile(Path(folder), source).read()
    except StateUnusableError as error:
        logs.say(logs.WARNING, "the addresses and signing keys found before are lost", error=str(error))
        return None
    return None if stored is None else stored.snapshot


def _asks_others(config: Config) -> bool:
    """Return whether control fetches addresses, signing keys or providers' tokens for this configuration."""
    fetched = any(provider.auth is not None and provider.auth.fetched for provider in config.providers.values())
    return bool(sources(config) or config.auth.jwt or fetched)


def _folder(config: Config | None, state_dir: str | None, environ: Mapping[str, str]) -> str:
    """Return the folder of the stored state, "" for none: the option, else the file's value, else the default."""
    written = state_dir if config is None else config.node.state_dir
    if written is not None:
        return str(Path(written).absolute()) if written else ""
    place = default_folder(environ)
    return "" if place is None else str(place)


def _from_state(ledger: Ledger, folder: str, problems: list[str]) -> Bootstrap:
    try:
        stored = StateFile(Path(folder), ledger.source).read() if folder else None
    except StateUnusableError as error:
        raise ConfigInvalidError([*problems, str(error)]) from error
    if stored is None:
        raise ConfigInvalidError(problems)
    before = stored.snapshot
    snapshot = compile_config(stored.config, now=clock.wall(), previous=before)
    again = structs.replace(snapshot, version=before.version, created=before.created, listeners=before.listeners)
    if again == before:
        snapshot = structs.replace(snapshot, version=before.version, created=before.created)
    for problem in problems:
        logs.say(logs.ERROR, problem)
    now = clock.wall()
    age = spell_age(now - stored.written)
    headline = f"STARTED FROM THE LAST GOOD CONFIGURATION, {age} old: {ledger.source} {_what(ledger)}"
    logs.say(logs.ERROR, headline, version=before.version, age_s=round(now - stored.written, 1))
    begun = structs.replace(ledger, config=stored.config, started_from=stored.written)
    written = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(stored.written))
    hint = "Fix the file; the node loads it as soon as it is valid."
    return Bootstrap(begun, snapshot, folder, (f"{headline} (written {written}).", *problems, hint, ""))


def _what(ledger: Ledger) -> str:
    return "is missing" if ledger.mark is None else "cannot be used"


def spell_age(seconds: float) -> str:
    """Return a time span in words: ``12 s``, ``5 min``, ``3 h``, ``2 days``; a negative span becomes ``0 s``."""
    whole_s = max(int(seconds), 0)
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if whole_s >= 2 * size:
            return f"{whole_s // size} {unit}"
    return f"{whole_s} s"
