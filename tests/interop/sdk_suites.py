"""The official OpenAI SDKs of four languages, and frameworks over them, ask edge for models of three vendors."""

from __future__ import annotations

import hashlib
import shutil
import sys
from typing import TYPE_CHECKING, Any, Final

from tests.interop.grpc_suites import told
from tests.interop.kit import BUILD_S, BUILT, HERE, need, node, npm_folder, provider, python_with, run
from tests.interop.report import Case, MissingToolError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

KEY: Final = "sk-interop-0123456789"
MODELS: Final = ("chat", "claude", "gemini")
"""An alias for a model of each dialect."""


def config(address: str) -> dict[str, Any]:
    """Return a configuration with a key and a model of each vendor, all at one simulated provider."""
    bases = {"openai": "/v1", "anthropic": "/v1", "gemini": "/v1beta"}
    return {
        "keys": [{"name": "interop", "sha256": hashlib.sha256(KEY.encode()).hexdigest()}],
        "providers": {
            kind: {"base_url": f"http://{address}{path}", "api_key": "sk-upstream"} for kind, path in bases.items()
        },
        "models": {
            "chat": {"targets": ["openai/gpt-4.1-mini"]},
            "claude": {"targets": ["anthropic/claude-sonnet-4-5"]},
            "gemini": {"targets": ["gemini/gemini-2.5-flash"]},
            "embed": {"targets": ["openai/text-embedding-3-small"]},
        },
    }


async def _asked(folder: Path, command: Sequence[str], cwd: Path) -> list[Case]:
    """Run a program of cases: COMMAND URL KEY MODEL..."""
    async with provider("--tps", "400", "--ttft", "0s") as address, node(folder, config(address)) as edge:
        said = await told([*command, f"{edge.url}/v1", KEY, *MODELS], cwd, limit_s=180)
    return [Case(name, what == "ok", detail=what) for name, what in said.items()]


async def python(folder: Path) -> list[Case]:
    """Ask with the SDK of Python."""
    return await _asked(folder, [sys.executable, str(HERE / "openai_client.py")], HERE)


async def javascript(folder: Path) -> list[Case]:
    """Ask with the SDK of Node.js."""
    return await _asked(folder, ["node", "client.mjs"], await npm_folder("openai"))


async def go(folder: Path) -> list[Case]:
    """Ask with the SDK of Go."""
    tool = need("go", "install Go 1.24 or newer")
    place, program = BUILT / "go-openai", BUILT / "go-openai" / "client"
    shutil.copytree(HERE / "go", place, dirs_exist_ok=True)
    for command in (["mod", "tidy"], ["build", "-o", str(program), "."]):
        done = await run([tool, *command], limit_s=BUILD_S, cwd=place, environ={"GOFLAGS": "-buildvcs=false"})
        if done.status != 0:
            raise MissingToolError(f"go {command[0]} of tests/interop/go failed: {done.said}")
    return await _asked(folder, [str(program)], place)


async def java(folder: Path) -> list[Case]:
    """Ask with the SDK of Java."""
    tool = need("mvn", "install Maven and a JDK of version 17 or newer")
    program = need("java", "install a JDK of version 17 or newer")
    place = BUILT / "java"
    shutil.copytree(HERE / "java", place, dirs_exist_ok=True)
    command = [
        tool,
        "-q",
        "-B",
        "-Dstyle.color=never",
        "compile",
        "dependency:build-classpath",
        "-Dmdep.outputFile=classpath",
    ]
    done = await run(command, limit_s=BUILD_S, cwd=place)
    if done.status != 0:
        raise MissingToolError(f"mvn compile of tests/interop/java failed: {done.said}")
    classpath = f"target/classes:{(place / 'classpath').read_text().strip()}"
    return await _asked(folder, [program, "-cp", classpath, "Client"], place)


async def frameworks(folder: Path) -> list[Case]:
    """Ask with LangChain and LlamaIndex."""
    interpreter = await python_with(
        "frameworks", "langchain-openai>=1,<2", "llama-index-llms-openai-like>=0.5,<1",
        "llama-index-embeddings-openai-like>=0.2,<1",
    )  # fmt: skip
    return await _asked(folder, [str(interpreter), str(HERE / "frameworks_client.py")], HERE)


async def vercel(folder: Path) -> list[Case]:
    """Ask with Vercel's AI SDK."""
    return await _asked(folder, ["node", "client.mjs"], await npm_folder("vercel"))


LANGUAGES: Final[dict[str, Callable[[Path], Awaitable[list[Case]]]]] = {
    "python": python,
    "node": javascript,
    "go": go,
    "java": java,
}
