// The page: keeps what the stream told, shows the chosen view, and asks before it changes anything.
import { call, stream } from "/page/net.js";
import { ask, text } from "/page/draw.js";
import { showIncidents, banner } from "/page/incidents.js";
import { showRequests, showKeys } from "/page/requests.js";
import { note, showNow, showTargets } from "/page/views.js";

const VIEWS = ["now", "targets", "incidents", "requests", "keys"];
const state = { targets: new Map(), routes: [], node: {}, pages: {}, incidents: [], changed: new Set(), gone: [], at: 0 };

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
  const failed = (error) => text(document.getElementById("health"), error.message);
  if (chosen === "now") showNow(state);
  if (chosen === "targets") showTargets(state, true);
  if (chosen === "incidents") showIncidents(location.hash.split("/")[1]).catch(failed);
  if (chosen === "requests") showRequests().catch(failed);
  if (chosen === "keys") showKeys().catch(failed);
}

function take(event) {
  for (const [name, row] of Object.entries(event.targets)) { state.targets.set(name, row); state.changed.add(name); }
  for (const name of event.gone) { state.targets.delete(name); state.gone.push(name); }
  const opened = event.incidents.map((each) => each.id + each.acknowledged + each.impact.requests).join();
  Object.assign(state, { routes: event.routes, node: event.node, pages: event.pages, incidents: event.incidents, at: event.at });
  note(state);
  text(document.getElementById("where"), `${event.node.region} / ${event.node.name}, version ${event.node.version}`);
  const ill = [...state.targets.values()].filter((row) => row[1] === "failing" || row[1] === "attention").length;
  const words = [`${state.targets.size} targets`, ill ? `${ill} failing` : "all well", `${event.node.workers} workers`];
  if (event.node.draining) words.push("DRAINING");
  if (event.node.problems.length) words.push("the last reload was refused");
  text(document.getElementById("health"), words.join(", "));
  banner(state.incidents, opened);
  if (view() === "now") showNow(state);
  if (view() === "targets") showTargets(state, false);
}

document.getElementById("reload").addEventListener("click", () => ask(
  "Reload the configuration?", "The file is read again and applied as a whole, or not at all.", "",
  { run: () => call("/api/reload", "POST") }));
document.getElementById("drain").addEventListener("click", () => ask(
  "Drain this node?", "It stops taking requests and ends. It does not come back by itself. Type drain to confirm.", "Confirm",
  { run: (word) => { if (word !== "drain") throw new Error("Type drain."); return call("/api/drain", "POST"); } }));
for (const id of ["find", "ill"]) document.getElementById(id).addEventListener("input", () => showTargets(state, true));
for (const id of ["wrong", "again"]) document.getElementById(id).addEventListener("click", () => showRequests());
addEventListener("hashchange", () => { show(); document.getElementById("main").focus(); });
addEventListener("resize", () => { if (view() === "now") showNow(state); });
show();
stream(take, (sentence) => text(document.getElementById("health"), sentence));
