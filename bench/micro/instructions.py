"""Measures the instructions of the data plane per request: ``python -m bench.micro.instructions [--json]``.

One data plane runs under callgrind; the client and the provider are processes of their own. After a warm-up it serves
few and then many requests on keep-alive connections; the difference, divided by the difference of the counts, is what
one request costs without connecting, starting and idling. ``instructions.json`` beside this module holds the figures
of this tree, which a test compares with new ones; ``--renew`` writes them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from msgspec import Struct, structs

from bench.macro.load import Order
from bench.macro.processes import BenchError, load, upstream
from bench.macro.proxies import Edge
from bench.macro.scenarios import KEYED
from bench.macro.wire import PACED_EVENTS
from bench.micro.callgrind import counted
from bench.phases import Phases, phases_of
from edge.errors import EdgeError

if TYPE_CHECKING:
    from collections import Counter

    from bench.macro.load import Kind
    from bench.macro.processes import Load, Upstream
    from bench.micro.callgrind import Counted

KEPT: Final = Path(__file__).with_name("instructions.json")
ROOT: Final = Path(__file__).parents[2]
MACHINE: Final = (
    f"{platform.python_implementation()} {sys.version_info.major}.{sys.version_info.minor}, {platform.machine()}"
)


class Case(Struct, frozen=True):
    """What is counted: requests through an edge of one configuration."""

    name: str
    edge: Edge
    few: int = 100
    many: int = 400
    kind: Kind = "whole"
    connections: int = 1
    streams: int = 0  # concurrent gRPC calls per connection
    units: int = 1  # of a request
    unit: str = "request"
    token: bool = False  # the client shows a token of an issuer instead of a key


# Nothing is sampled: which of a few requests chance picks would show.
_PLAIN: Final = Edge(sample="0%")
CASES: Final = (
    Case("json", _PLAIN),
    Case("keys", structs.replace(KEYED, sample="0%")),
    Case("sse", _PLAIN, few=16, many=48, kind="paced", connections=16, units=PACED_EVENTS, unit="event"),
    Case("tls", Edge(sample="0%", tls_in=True, tls_out=True)),
    Case("grpc", _PLAIN, kind="call", streams=8, unit="call"),
)

TOKENS: Final = Case("tokens", structs.replace(KEYED, sample="0%"), token=True)
"""Beside ``keys``: a verified token costs at most a few percent more than a key, which a test holds it to."""

_TWO: Final = {"targets": ["local/gpt-4.1-mini", "local/gpt-4.1"]}
SPREAD: Final = Case("spread", Edge(more={"models": {"chat": {**_TWO, "affinity": "none"}}}, sample="0%"))
AFFINITY: Final = Case("affinity", Edge(more={"models": {"chat": {**_TWO, "affinity": "auto"}}}, sample="0%"))
"""A pool of two targets: conversations that are kept cost at most 2% more, which a test holds them to."""

BESIDE: Final = (TOKENS, SPREAD, AFFINITY)

_ISSUER: Final = "https://id.example"
_SOURCE: Final = f"{_ISSUER}/keys"


class Cost(Struct, frozen=True):
    """The instructions per unit of a case, and where they are."""

    case: str
    unit: str
    instructions: int
    phases: Phases


def config_of(case: Case, behind: Upstream) -> dict[str, Any]:
    """Return the configuration of a case."""
    listener: dict[str, Any] = {"address": "127.0.0.1:0"}
    if case.edge.tls_in:
        listener["tls"] = {"cert": behind.files.cert, "key": behind.files.key}
    return {**case.edge.config(behind), "listen": [listener]}


def issued(config: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Return a configuration whose last key is reached by tokens alone, and a token of 600 to 700 bytes for it."""
    signing = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = {**jwt.algorithms.RSAAlgorithm.to_jwk(signing.public_key(), as_dict=True), "kid": "one", "use": "sig"}
    public.pop("key_ops", None)
    *others, last = config["keys"]
    claims = {"iss": _ISSUER, "aud": "edge", "sub": last["name"], "exp": 4_000_000_000, "groups": ["staff", "research"]}
    token = jwt.encode({**claims, "azp": "client", "email": "someone@example.com"}, signing, "RS256", {"kid": "one"})
    last = {name: value for name, value in last.items() if name != "sha256"}
    auth = {"jwt": [{"issuer": _ISSUER, "jwks": _SOURCE, "audience": "edge"}]}
    return {
        **config,
        "auth": auth,
        "keys": [*others, last],
        "signing": {_SOURCE: json.dumps({"keys": [public]})},
    }, token


async def _measure(case: Case, under: Counted, asking: Load, behind: Upstream) -> Cost:
    config, token = config_of(case, behind), ""
    if case.token:
        config, token = issued(config)
    port = int(await under.say(json.dumps(config)))
    ca = behind.files.ca if case.edge.tls_in else ""
    found: list[Counter[str]] = []
    for count in (case.few, case.few, case.many):  # the first is the warm-up
        await asking.run(Order(port, count, case.connections, case.kind, case.streams, key=token, ca=ca))
        found.append(await under.take())
    units = (case.many - case.few) * case.units
    each = {place: (found[2][place] - found[1][place]) / units for place in found[1] | found[2]}
    return Cost(case.name, case.unit, round(sum(each.values())), phases_of(each))


async def measure(names: list[str] | None = None) -> list[Cost]:
    """Count the cases of these names, or all.

    Raises:
        BenchError: valgrind is missing, or a response was wrong.
    """
    os.environ["PYTHONHASHSEED"] = "0"
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        command = (sys.executable, "-m", "bench.micro.data_plane")
        async with (
            upstream() as behind,
            load() as asking,
            counted(Path(folder), *command) as under,
        ):
            wanted = [case for case in (*CASES, *BESIDE) if (case.name in names if names else case in CASES)]
            await under.say(json.dumps(config_of(wanted[0], behind)))  # imports are not counted, which makes them fast
            await under.begin()
            return [await _measure(case, under, asking, behind) for case in wanted]


def kept() -> dict[str, Any]:
    """Return the figures of this tree: ``machine`` that they hold for, and ``instructions`` by case."""
    found: dict[str, Any] = json.loads(KEPT.read_text())
    return found


def _text(costs: list[Cost]) -> str:
    names = [name for name, _ in costs[0].phases]
    lines = [f"{'instructions per':24}" + "".join(f"{cost.case + ' ' + cost.unit:>16}" for cost in costs)]
    lines.append(f"{'all':24}" + "".join(f"{cost.instructions:>16,}" for cost in costs))
    for at, name in enumerate(names):
        lines.append(f"{name:24}" + "".join(f"{cost.phases[at][1]:>16,.0f}" for cost in costs))
    return "\n".join(lines)


def main() -> int:
    """Measure, print, and return the exit status: 2 if nothing could be measured."""
    parser = argparse.ArgumentParser(prog="python -m bench.micro.instructions", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--renew", action="store_true", help=f"write {KEPT.name}")
    parser.add_argument(
        "--only", metavar="NAME", action="append", help=", ".join(case.name for case in (*CASES, *BESIDE))
    )
    asked = parser.parse_args()
    try:
        costs = asyncio.run(measure(asked.only))
    except (BenchError, EdgeError) as fault:
        print(f"bench: {fault}", file=sys.stderr)
        return 2
    figures = {cost.case: cost.instructions for cost in costs}
    if asked.renew:
        KEPT.write_text(json.dumps({"machine": MACHINE, "instructions": figures}, indent=2) + "\n")
    rows = [structs.asdict(cost) | {"phases": dict(cost.phases)} for cost in costs]
    print(json.dumps({"bench": "instructions", "rows": rows}) if asked.json else _text(costs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
