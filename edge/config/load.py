"""Loading of the configuration from a YAML file or, without one, from keys in the environment."""

from __future__ import annotations

import contextlib
import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from edge.config import tree
from edge.config.fields import Secret
from edge.config.files import read_file
from edge.config.problems import Document, Problem, errors
from edge.config.reader import Reader
from edge.config.sampler import sampled
from edge.config.schema import Config, Model, Provider
from edge.config.schema_targets import ModelTarget
from edge.config.schema_telemetry import Telemetry
from edge.errors import ConfigInvalidError
from edge.terms.places import CAPABILITIES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edge.terms import places


def load(path: str | os.PathLike[str], environ: Mapping[str, str] | None = None) -> Config:
    """Return the configuration in a file, parsed but not yet checked (see ``edge.config.check``).

    Raises:
        ConfigInvalidError: the file cannot be read or parsed; the error has every problem.
    """
    document = read(path, environ)
    found = errors(document.problems)
    if found:
        raise ConfigInvalidError([problem.text(document.source) for problem in found])
    return document.config


def read(path: str | os.PathLike[str], environ: Mapping[str, str] | None = None) -> Document:
    """Read a file as far as it can be parsed; the rest is reported in the document's problems."""
    file = Path(path)
    try:
        text = read_file(file).decode()
    except OSError as error:
        return Document(Config(), (Problem((), f"cannot be read: {error.strerror}"),), source=str(path))
    except UnicodeDecodeError:
        return Document(Config(), (Problem((), "cannot be read: it is not UTF-8 text"),), source=str(path))
    return read_text(text, str(path), file.absolute().parent, environ)


def read_text(
    text: str, source: str = "", folder: Path | None = None, environ: Mapping[str, str] | None = None
) -> Document:
    """Read YAML text; relative file names refer to ``folder``, and ``${NAME}`` to ``environ``."""
    variables = os.environ if environ is None else environ
    reader = Reader(variables, folder or Path.cwd())
    with _uncollected():
        root, problems = tree.compose(text)
        config = reader.read(root)
    document = Document(config, (), reader.lines, source, reader.taken, reader.kept, tuple(reader.secret_files))
    found = {document.as_written(problem) for problem in (*problems, *reader.problems)}
    said = [document.written("telemetry", name) for name in ("sample", "forced_samples_per_second")]
    telemetry, ignored = sampled(config.telemetry, variables, sample=said[0], asked=said[1])
    if ignored:
        found.add(Problem(("telemetry", "sample"), ignored, severity="warning"))
    document = structs.replace(document, config=structs.replace(config, telemetry=telemetry))
    ordered = tuple(sorted(found, key=lambda problem: (problem.line, str(problem.path), problem.sentence)))
    return structs.replace(document, problems=ordered)


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the garbage collector from walking a tree that grows and holds no garbage, which costs a third of the time.

    Only the calling thread runs Python code meanwhile for long; another's garbage waits until the file is read.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def from_environment(environ: Mapping[str, str], known: Mapping[str, places.Provider]) -> Config | None:
    """Return a configuration of the providers whose keys are in the environment; None if there are none.

    ``known`` is ``edge.providers.KNOWN``. The alias ``chat`` has one small model of each provider, each in its own tier
    in the order of ``known``. The alias ``embed`` has only one, because vectors of different models are not comparable.
    A provider's ``*_BASE_URL`` replaces its base URL. An empty variable counts as unset.
    """
    providers: dict[str, Provider] = {}
    chat: list[ModelTarget] = []
    embed: list[ModelTarget] = []
    for name, provider in known.items():
        key = next((environ[variable] for variable in provider.key_variables if environ.get(variable)), None)
        if key is None:
            continue
        providers[name] = Provider(api_key=Secret(key), base_url=environ.get(provider.url_variable, ""))
        chat.append(ModelTarget(f"{name}/{provider.chat_model}", tier=len(chat) + 1))
        if provider.embed_model and not embed:
            embed.append(ModelTarget(f"{name}/{provider.embed_model}"))
    return _aliases(providers, {"chat": chat, "embed": embed}, environ) if providers else None


def simulated(urls: Sequence[str]) -> Config:
    """Return a configuration with simulated providers ``sim-a``, ``sim-b``, ..., one tier for each base URL."""
    names = [f"sim-{chr(ord('a') + index)}" for index in range(len(urls))]
    offered = tuple(capability for capability in CAPABILITIES if capability != "prefill")
    providers = {
        name: Provider(base_url=url, jurisdiction="local", capabilities=offered)
        for name, url in zip(names, urls, strict=True)
    }
    aliases = {
        alias: [ModelTarget(f"{name}/{model}", tier=tier) for tier, name in enumerate(names, start=1)]
        for alias, model in (("chat", "sim-small"), ("embed", "sim-embed"))
    }
    return _aliases(providers, aliases, os.environ)


def _aliases(
    providers: dict[str, Provider], aliases: Mapping[str, Sequence[ModelTarget]], environ: Mapping[str, str]
) -> Config:
    models = {name: Model(targets=tuple(targets)) for name, targets in aliases.items() if targets}
    telemetry, _ = sampled(Telemetry(), environ)
    return Config(providers=providers, models=models, telemetry=telemetry)
