// The page: keeps what the stream told, shows the chosen view, and asks before it changes anything.
import { call, stream } from "/page/net.js";
import { ask, text } from "/page/draw.js";
import { showDrills } from "/page/drills.js";
import { showIncidents, banner } from "/page/incidents.js";
import { showMap, takeRegions } from "/page/map.js";
import { showRequests, showKeys } from "/page/requests.js";
import { note, showNow, showTargets } from "/page/views.js";

const VIEWS = ["now", "targets", "incidents", "requests", "keys", "drills"];
const state = {
  targets: new Map(), regions: new Map(), routes: [], node: {}, pages: {}, incidents: [], changed: new Set(), gone: [], at: 0,
};

function view() {
  const name = location.hash.slice(1).split("/")[0];
  return VIEWS.includes(name) ? name : "now";
}

function show() {
  const chosen = view();
  for (const name of VIEWS) {
    document.getElementById(`view-${name}`).hidden = name !== chosen;
    const link = document.querySelector(`nav a[href="#${name}"]`);
    if (name === chosen) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  document.getElementById("banner").hidden = chosen === "incidents";
  const trouble = document.getElementById("trouble");
  text(trouble, "");
  const failed = (error) => text(trouble, error.message);
  if (chosen === "now") { showNow(state); showMap(state); }
  if (chosen === "targets") showTargets(state, true);
  if (chosen === "incidents") showIncidents(location.hash.split("/")[1]).catch(failed);
  if (chosen === "requests") showRequests().catch(failed);
  if (chosen === "keys") showKeys().catch(failed);
  if (chosen === "drills") showDrills().catch(failed);
}

function take(event) {
  for (const [name, row] of Object.entries(event.targets)) { state.targets.set(name, row); state.changed.add(name); }
  for (const name of event.gone) { state.targets.delete(name); state.gone.push(name); }
  takeRegions(state, event.regions);
  Object.assign(state, { routes: event.routes, node: event.node, pages: event.pages, incidents: event.incidents, at: event.at });
  note(state);
  text(document.getElementById("where"), `${event.node.region} / ${event.node.name}`);
  const ill = [...state.targets.values()].filter((row) => row[1] === "failing" || row[1] === "attention").length;
  const words = [ill ? `${ill} of ${state.targets.size} failing` : "all well"];
  if (event.node.draining) words.push("DRAINING");
  if (event.node.problems.length) words.push("the last reload was refused");
  if (state.incidents.length) words.push(`${state.incidents.length} open incident${state.incidents.length > 1 ? "s" : ""}`);
  say(words.join(", "), ill ? "failing" : words.length > 1 ? "limited" : "ok");
  text(document.getElementById("facts"), [`edge ${event.node.version}`, `${event.node.workers} workers`,
    `${state.targets.size} targets`, event.node.config || "configured by the environment", ...event.node.problems].join("; "));
  document.title = `${ill || state.incidents.length ? "\u26a0 " : ""}edge ${event.node.region}`;
  document.body.classList.remove("stale");
  banner(state.incidents, event.at);
  if (view() === "now") { showNow(state); showMap(state); }
  if (view() === "targets") showTargets(state, false);
}

function say(sentence, severity) {
  const health = document.getElementById("health");
  text(health, sentence);
  health.className = severity;
}

// What is on the screen is old from now on.
function down(sentence) {
  say(sentence, "failing");
  document.title = "\u26a0 edge";
  document.body.classList.add("stale");
}

document.getElementById("reload").addEventListener("click", () => ask(
  "Reload the configuration?", "The file is read again and applied as a whole, or not at all.", "",
  { run: () => call("/api/reload", "POST") }));
document.getElementById("drain").addEventListener("click", () => ask(
  "Drain this node?", "It stops taking requests and ends. It does not come back by itself. Type drain to confirm.", "Confirm",
  { run: (word) => { if (word !== "drain") throw new Error("Type drain."); return call("/api/drain", "POST"); } }));
for (const id of ["find", "ill"]) document.getElementById(id).addEventListener("input", () => showTargets(state, true));
for (const id of ["wrong", "again"]) document.getElementById(id).addEventListener("click", () => showRequests());
addEventListener("hashchange", () => { show(); document.getElementById("main").focus({ preventScroll: true }); scrollTo(0, 0); });
addEventListener("resize", () => { if (view() === "now") showNow(state); });
show();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (view() === "now") showNow(state); });
stream(take, down);
