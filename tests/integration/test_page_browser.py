"""The page shows what happens as it happens, in a real browser, and changes a node only after a question."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from browser import CHROMIUM, MISSING, Browser
from nodes import FAST, KEY, RunningNode, chat_config

from edge.sim.faults import Fault
from edge.sim.provider import ProviderSpec, SimProvider

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=MISSING)
TOKEN = "page-token-0123456789"
SLACK_S = 3.0  # of a machine that runs the whole suite; the page itself is told once a second
VIEWS = (("requests", "p0/sim-small"), ("keys", "No key"), ("drills", "edge drill run"), ("targets", "p1/sim-small"))


async def stream_once(node: RunningNode) -> dict[str, Any]:
    """Return the first event of the stream, which has everything."""
    async with aiohttp.ClientSession() as client, client.get(f"{node.admin}/api/stream") as answer:
        async for line in answer.content:
            if line.startswith(b"data: "):
                return dict(json.loads(line[6:]))
    raise AssertionError("the stream ended without an event")


async def test_the_page_lives(tmp_path: Path, provider: SimProvider) -> None:
    """Every view opens without an error, a fault shows by itself, and an operator's action goes through a question."""
    async with SimProvider(ProviderSpec(name="p1", pace=FAST, key=KEY)) as backup:
        config = chat_config(provider.url, backup.url, breaker={"consecutive_failures": 2})
        async with RunningNode(tmp_path, config) as node, Browser(tmp_path / "browser") as browser:
            await browser.go(f"{node.admin}/")
            await browser.until("document.getElementById('health').textContent.includes('all well')")
            assert "chat" in await browser.js("document.getElementById('flow').innerText")

            await provider.switch(Fault(kind="error"))
            for _ in range(2):
                await node.ask()
            began = time.monotonic()  # the circuit is open now
            await browser.until("document.getElementById('banner').innerText.includes('p0 is down')")
            assert time.monotonic() - began < 2.0 + SLACK_S
            await browser.until("document.getElementById('map').innerText.includes('p0/sim-small open')")
            assert await browser.js("document.querySelector('.region').classList.contains('failing')")
            await browser.click("#banner a")
            await browser.until("document.getElementById('incident').innerText.includes('detected')")
            shown = "document.querySelector('#incident .playbook')"
            assert await browser.js(f"{shown}.open && {shown}.innerText.includes('How to know that it is over.')")
            assert await browser.js(f"{shown}.querySelectorAll('li code').length") > 2
            assert "**" not in await browser.js(f"{shown}.innerText")
            await browser.click("#incident button:nth-child(3)")
            await browser.until("document.querySelector('#incident pre').textContent.startsWith('# p0 is down')")

            for view, shows in VIEWS:
                await browser.js(f"location.hash = '{view}'")
                await browser.until(f"document.getElementById('view-{view}').innerText.includes('{shows}')")
                assert await browser.js("document.activeElement.id") == "main"

            drain = '[aria-label="drain p1/sim-small"]'
            await browser.js(f"document.querySelector('{drain}').focus()")
            await browser.press("Enter", 13)  # by the keyboard alone
            await browser.until("document.getElementById('ask').open")
            await browser.press("Enter", 13)
            await browser.until("document.getElementById('ask-error').textContent !== ''")
            assert (await node.target("p1/sim-small"))["state"] == "usable"
            await browser.write("for a test")
            await browser.js("document.getElementById('ask-name').focus()")
            await browser.write("Zoë")
            await browser.press("Enter", 13)
            await browser.until("!document.getElementById('ask').open")
            changed = await node.target("p1/sim-small")
            assert (changed["state"], "for a test" in changed["why"]) == ("manual", True)
            await browser.until("document.getElementById('targets').innerText.includes('for a test')")
            done = (await node.get("/api/actions"))[1][-1]
            assert (done["what"], done["reason"], done["by"]) == ("drain", "for a test", "Zoë")
            assert browser.problems == []


async def test_who_answers_what_is_told_of_each_alias(tmp_path: Path, provider: SimProvider) -> None:
    """A target that answers two aliases shows what it answers of each, and no other alias's traffic."""
    async with SimProvider(ProviderSpec(name="p1", pace=FAST, key=KEY)) as backup:
        config = chat_config(provider.url, backup.url, breaker={"consecutive_failures": 2})
        config["models"]["other"] = {"targets": ["p1/sim-small"]}
        async with RunningNode(tmp_path, config) as node, Browser(tmp_path / "browser") as browser:
            await browser.go(f"{node.admin}/")
            await browser.until("document.getElementById('health').textContent.includes('all well')")
            for alias, times in (("chat", 4), ("other", 2)):
                for _ in range(times):
                    assert (await node.ask(model=alias)).status == 200
            shares = """JSON.stringify([...document.querySelectorAll('#flow .alias')].map((alias) => [
                alias.querySelector('b').textContent,
                ...[...alias.querySelectorAll('.member')].map((each) => each.innerText.replace(/\\s+/g, ' '))]))"""
            await browser.until(f"({shares}).includes('100%')")
            chat, other = sorted(json.loads(await browser.js(shares)))
            answered = (await stream_once(node))["routes"]
            counts = {
                route["name"]: dict(zip([name for name, _ in route["members"]], route["answered"], strict=True))
                for route in answered
            }
            assert counts == {"chat": {"p0/sim-small": 4, "p1/sim-small": 0}, "other": {"p1/sim-small": 2}}
            assert (chat[0], other[0]) == ("chat", "other")
            assert "100%" in next(each for each in chat[1:] if "p0/sim-small" in each)
            assert "100%" not in next(each for each in chat[1:] if "p1/sim-small" in each)
            assert browser.problems == []


async def test_the_page_asks_for_the_token(tmp_path: Path, provider: SimProvider) -> None:
    """With a token the page itself opens, shows nothing of the node, and goes on once the right token is given."""
    config = {**chat_config(provider.url), "admin": {"address": "127.0.0.1:0", "token": TOKEN}}
    async with RunningNode(tmp_path, config) as node, Browser(tmp_path / "browser") as browser:
        await browser.go(f"{node.admin}/")
        await browser.until("document.getElementById('ask').open")
        assert await browser.js("document.getElementById('ask-input').type") == "password"
        assert "p0" not in await browser.js("document.documentElement.innerText")
        await browser.write("wrong")
        await browser.press("Enter", 13)
        await browser.until("document.getElementById('ask').open && document.getElementById('ask-input').value === ''")
        await browser.write(TOKEN)
        await browser.press("Enter", 13)
        await browser.until("document.getElementById('health').textContent.includes('all well')")
        assert TOKEN not in await browser.js("document.documentElement.outerHTML + location.href + document.cookie")


async def test_what_a_reader_needs(tmp_path: Path, provider: SimProvider) -> None:
    """Buttons and fields have names, text has contrast in both schemes, a phone needs no sideways scrolling."""
    names = """[...document.querySelectorAll('button,input,canvas,section,nav,a')].filter((each) =>
        !(each.getAttribute('aria-label') || each.textContent.trim() || each.closest('label')?.textContent.trim()))
        .map((each) => each.outerHTML)"""
    contrast = """(() => { const style = getComputedStyle(document.documentElement);
        const light = (name) => { const hex = style.getPropertyValue(name).trim().slice(1);
          const full = hex.length === 3 ? [...hex].map((one) => one + one).join('') : hex;
          const [r, g, b] = [0, 2, 4].map((at) => parseInt(full.slice(at, at + 2), 16) / 255)
            .map((each) => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4);
          return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
        const low = [];
        for (const back of ['--bg', '--box'])
          for (const name of ['--text', '--faint', '--link', '--ok', '--limited', '--failing', '--attention', '--c']) {
            const pair = [light(name), light(back)].sort((a, b) => b - a);
            if ((pair[0] + 0.05) / (pair[1] + 0.05) < 4.5) low.push(name + ' on ' + back); }
        return low; })()"""
    async with RunningNode(tmp_path, chat_config(provider.url)) as node, Browser(tmp_path / "browser") as browser:
        await browser.go(f"{node.admin}/")
        await browser.until("document.getElementById('health').textContent.includes('all well')")
        for scheme in ("light", "dark"):  # WCAG 2.2, 1.4.3: 4.5 to 1
            await browser.send(
                "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
            )
            assert await browser.js(contrast) == [], scheme
        await browser.send(
            "Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=2, mobile=True
        )
        for view in ("now", "targets", "incidents", "requests", "keys", "drills"):
            await browser.js(f"location.hash = '{view}'")
            await browser.until(f"!document.getElementById('view-{view}').hidden")
            assert await browser.js("document.documentElement.scrollWidth <= innerWidth"), view
        assert await browser.js(names) == []


async def test_a_thousand_targets(tmp_path: Path, provider: SimProvider) -> None:
    """With a thousand targets a second's changes cost a small part of drawing all rows."""
    measure = """(async () => { const { showTargets } = await import('/page/views.js');
        const row = (state) => [state, 'ok', '', null, 1, 20, 0, 10, 5];
        const state = { targets: new Map(), changed: new Set(), gone: [] };
        const began = performance.now();
        for (let at = 0; at < 1000; at += 1) {
          state.targets.set('p/m' + at, row('usable')); state.changed.add('p/m' + at); }
        showTargets(state, true); document.body.offsetHeight;
        const whole = performance.now() - began;
        const times = [];
        for (let turn = 0; turn < 5; turn += 1) { const start = performance.now();
          for (let at = 0; at < 10; at += 1) { const name = 'p/m' + (turn * 10 + at);
            state.targets.set(name, row('open')); state.changed.add(name); }
          showTargets(state, false); document.body.offsetHeight; times.push(performance.now() - start); }
        return [whole, Math.min(...times), document.querySelectorAll('#targets tr').length]; })()"""
    async with RunningNode(tmp_path, chat_config(provider.url)) as node, Browser(tmp_path / "browser") as browser:
        await browser.go(f"{node.admin}/#targets")
        await browser.until("document.getElementById('health').textContent.includes('all well')")
        whole, some, count = await asyncio.wait_for(browser.js(measure), 60)
        assert count >= 1000
        assert some < whole / 5
        assert some < 100  # milliseconds, of five updates the quickest


async def test_a_thousand_targets_in_twenty_regions(tmp_path: Path, provider: SimProvider) -> None:
    """The map of many regions draws again what changed, and names what is ill in words."""
    measure = """(async () => { const { showMap, takeRegions } = await import('/page/map.js');
        const region = (own) => ({
          own, fresh: true, suspect: false, nodes: 3, fresh_nodes: 3, load: 5, age: 0, gone: [],
          targets: Object.fromEntries([...Array(1000)].map((_, at) => ['p/m' + at, ['usable', 'ok', 0, 0, 0]])) });
        const state = { targets: new Map(), regions: new Map() };
        const all = Object.fromEntries([...Array(20)].map((_, at) => ['r' + at, region(false)]));
        takeRegions(state, all); showMap(state); document.body.offsetHeight;
        const times = [];
        for (let turn = 0; turn < 5; turn += 1) { const start = performance.now();
          const next = {};
          for (const name of Object.keys(all)) next[name] = { ...all[name], targets: {} };
          next.r7.targets['p/m' + turn] = ['open', 'failing', 0.5, 900, 3000];
          takeRegions(state, next); showMap(state); document.body.offsetHeight; times.push(performance.now() - start); }
        const card = [...document.querySelectorAll('.region')].find((each) => each.ariaLabel === 'Region r7');
        return [Math.min(...times), card.innerText]; })()"""
    async with RunningNode(tmp_path, chat_config(provider.url)) as node, Browser(tmp_path / "browser") as browser:
        await browser.go(f"{node.admin}/#keys")
        await browser.until("document.getElementById('health').textContent.includes('all well')")
        some, words = await asyncio.wait_for(browser.js(measure), 60)
        assert "5 failing" in words
        assert "p/m4 open" in words
        assert "50% errors, first token p95 900 ms; 3 s left" in words
        assert some < 100  # milliseconds


async def test_a_page_that_hears_nothing_says_so(tmp_path: Path, provider: SimProvider) -> None:
    """When the node is gone the page does not go on to show its last words as if they held."""
    async with Browser(tmp_path / "browser") as browser:
        async with RunningNode(tmp_path, chat_config(provider.url)) as node:
            await browser.go(f"{node.admin}/")
            await browser.until("document.getElementById('health').textContent.includes('all well')")
            assert not await browser.js("document.body.classList.contains('stale')")
        await browser.until("document.body.classList.contains('stale')")
        assert "trying again" in await browser.js("document.getElementById('health').textContent")
