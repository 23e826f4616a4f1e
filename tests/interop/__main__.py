"""``make interop``: clients, servers and conformance suites of other projects, with edge between them.

Each suite runs, or is skipped with a sentence that says what is missing. Tools are built and packages installed in
``build/interop``. The exit status is 1 if a case fails that ``deviations.yaml`` does not name, or if one passes that
it names.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.interop import grpc_suites, sdk_suites, watch_suites, wire_suites
from tests.interop.kit import HERE
from tests.interop.report import Case, MissingToolError, Outcome, judge, markdown, read_deviations

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tests.interop.report import Deviation

LIMIT_S: Final = 2400.0
SUITES: Final[dict[str, Callable[[Path], Awaitable[list[Case]]]]] = {
    "h2spec": wire_suites.h2spec,
    "curl": wire_suites.curl,
    "h2load": wire_suites.h2load,
    "websockets": wire_suites.websockets,
    "grpc-go": grpc_suites.grpc_go,
    "grpc-js": grpc_suites.grpc_js,
    "connect": grpc_suites.connect,
    **{f"openai-{language}": suite for language, suite in sdk_suites.LANGUAGES.items()},
    "frameworks": sdk_suites.frameworks,
    "vercel-ai": sdk_suites.vercel,
    "prometheus": watch_suites.prometheus,
    "jaeger": watch_suites.jaeger,
}


async def run_suite(name: str, deviations: Sequence[Deviation]) -> Outcome:
    """Run one suite in a folder of its own."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            async with asyncio.timeout(LIMIT_S):
                return judge(name, await SUITES[name](Path(folder)), deviations)
    except MissingToolError as error:
        return Outcome(name, skipped=str(error))
    except (AssertionError, OSError, ValueError) as error:
        return judge(name, [Case("(the suite)", passed=False, detail=f"{type(error).__name__}: {error}"[:600])], ())
    except TimeoutError:
        return judge(name, [Case("(the suite)", passed=False, detail=f"not done in {LIMIT_S:.0f} s")], ())


async def main(arguments: Sequence[str]) -> int:
    """Run the suites that are named, or all."""
    parser = argparse.ArgumentParser(prog="make interop", description=__doc__)
    parser.add_argument("suite", nargs="*", choices=[[], *SUITES], help="only these; default: all")
    parser.add_argument("--markdown", type=Path, help="write the table to this file")
    parser.add_argument("-v", "--verbose", action="store_true", help="say why cases fail that are no fault of edge")
    options = parser.parse_args(arguments)
    deviations = read_deviations(HERE / "deviations.yaml")
    outcomes = []
    for name in options.suite or SUITES:
        began = time.monotonic()
        outcome = await run_suite(name, deviations)
        outcomes.append(outcome)
        took = time.monotonic() - began
        told = f"skipped: {outcome.skipped}" if outcome.skipped else counts(outcome)
        print(f"{name:16} {told}  ({took:.0f} s)", flush=True)
        for case in outcome.new:
            print(f"  FAILED {case.name}: {case.detail}")
        for deviation in outcome.gone:
            print(f"  passes now, remove it from deviations.yaml: {deviation.case}")
        if options.verbose:
            for case in outcome.cases:
                if not case.passed and case not in outcome.new:
                    print(f"  known or not edge's: {case.name}: {case.detail}")
    if options.markdown is not None:
        options.markdown.write_text(markdown(outcomes))
    return 0 if all(outcome.holds for outcome in outcomes) else 1


def counts(outcome: Outcome) -> str:
    """Return the counts of a suite that ran, in words."""
    return (
        f"{outcome.passed} of {outcome.total} passed, {outcome.without} fail without edge too, "
        f"{len(outcome.known)} known, {len(outcome.new)} new"
    )


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
