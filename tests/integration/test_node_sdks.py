"""The official Node SDKs of OpenAI, Anthropic and Google work against a target of each dialect."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from dialect_sdks import DIALECTS
from one_data_plane import one_data_plane

from edge.sim.asked import Pace
from edge.sim.provider import ProviderSpec, SimProvider

pytestmark = pytest.mark.prove

SCRIPT = Path(__file__).with_name("node_clients.mjs")
ROOM = Path(__file__).parents[2] / "build" / "node"
PACKAGES = {"openai": "7.59.0", "@anthropic-ai/sdk": "1.14.0", "@google/genai": "3.3.0"}
MODEL = "sim-small@seed=7,tokens=6,ttft=0s,tps=0"


@pytest.fixture(scope="module")
def script() -> Path:
    """Install the SDKs once; return the script beside them. Skip where there is no Node or no registry."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed, so the Node SDKs are not tested")
    ROOM.mkdir(parents=True, exist_ok=True)
    (ROOM / "package.json").write_text(json.dumps({"private": True, "type": "module", "dependencies": PACKAGES}))
    words = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline"]
    try:
        done = subprocess.run(words, cwd=ROOM, capture_output=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("npm did not install the Node SDKs within two minutes, so they are not tested")
    if done.returncode:
        pytest.skip(f"npm cannot install the Node SDKs, so they are not tested: {done.stderr[-300:].decode()}")
    return Path(shutil.copy(SCRIPT, ROOM))


async def test_node_sdks_are_told_what_providers_say(script: Path) -> None:
    """Text, streams, tools, pictures, schemas and errors arrive in each SDK from targets of each dialect."""
    async with SimProvider(ProviderSpec(name="sim-a", pace=Pace(ttft_s=0, tps=0))) as sim:
        roots = {name: f"{sim.url}/{'v1beta' if name == 'gemini' else 'v1'}" for name in DIALECTS}
        text = "providers:\n" + "".join(
            f"  {name}-p: {{base_url: '{root}', dialect: {name}, api_key: sk-of-edge}}\n"
            for name, root in roots.items()
        )
        text += "models:\n" + "".join(f"  {name}: {{targets: ['{name}-p/{MODEL}']}}\n" for name in DIALECTS)
        async with one_data_plane(text) as plane:
            process = await asyncio.create_subprocess_exec(
                "node", str(script), plane.url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
            out, errors = await asyncio.wait_for(process.communicate(), 90)
    assert process.returncode == 0, errors.decode()
    told: dict[str, Any] = json.loads(out)
    for dialect in DIALECTS:
        chat, message = told[dialect]["chat"], told[dialect]["message"]
        assert chat["whole"] == chat["streamed"] == message["whole"] == message["streamed"] != ""
        assert (chat["finish"], message["finish"]) == ("stop", "end_turn")
        assert (message["call"]["name"], list(message["call"]["input"])) == ("look", ["city"])
        generated = told[dialect]["generated"]
        assert generated["whole"] == generated["streamed"] == chat["whole"]
        assert (generated["finish"], generated["tokens"]) == ("STOP", 6)
        assert (generated["call"]["name"], list(generated["call"]["args"])) == ("look", ["city"])
        assert list(generated["json"]) == ["city"]
        assert told[dialect]["seen"] == [chat["whole"]] * 2
    assert told["kept"] == {
        "response": True,
        "events": ["response.created", "response.completed"],
        "file": "a.jsonl",
        "content": "{}\n",
        "batch": "completed",
    }
    assert told["vendors"] == {"results": [["one", "succeeded"]], "size": "12", "read": True}
    assert told["failures"] == {
        "gemini": {"name": "ApiError", "status": 404},
        "openai": {"name": "NotFoundError", "status": 404},
        "anthropic": {"name": "NotFoundError", "status": 404},
    }
