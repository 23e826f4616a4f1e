// The map: every region with its targets. What is ill is named with its reason; every reported target is a square.
import { el, ms, text } from "/page/draw.js";

const ORDER = ["attention", "failing", "limited", "ok"];
const MOST_NAMED = 12;
const MOST_SQUARES = 400;

// Takes the part of an event that is about regions. A target of another region is [state, severity, errors, p95, pause].
export function takeRegions(state, regions) {
  for (const name of state.regions.keys()) if (!(name in regions)) state.regions.delete(name);
  for (const [name, told] of Object.entries(regions)) {
    const known = state.regions.get(name) ?? { targets: new Map() };
    for (const gone of told.gone) known.targets.delete(gone);
    for (const [target, cell] of Object.entries(told.targets)) known.targets.set(target, cell);
    state.regions.set(name, { ...told, targets: known.targets });
  }
}

function ownTargets(state) {
  return [...state.targets].map(([name, row]) => ({
    name, state: row[0], severity: row[1], why: row[2], until: row[3] ? `${row[3]} s left` : "",
  }));
}

function elsewhere(region) {
  return [...region.targets].map(([name, [is, severity, errors, p95, pause]]) => ({
    name: name.replace("#", ": "), state: is, severity, until: pause ? `${Math.ceil(pause / 1000)} s left` : "",
    why: [errors ? `${Math.round(100 * errors)}% errors` : "", p95 ? `first token p95 ${ms(p95)}` : ""].filter(Boolean).join(", "),
  }));
}

// One line that says how a region is, and its severity.
function verdict(name, region, ill) {
  if (!region.fresh && !region.own) return ["failing", `nothing heard for ${Math.round(region.age)} s`];
  if (region.suspect) return ["attention", "most providers fail from here: its own network is the likely cause"];
  if (ill.some((each) => each.severity === "attention")) return ["attention", `${ill.length} of its targets need a look`];
  if (ill.some((each) => each.severity === "failing")) return ["failing", `${ill.filter((each) => each.severity === "failing").length} failing`];
  return ill.length ? ["limited", `${ill.length} limited`] : ["ok", "all well"];
}

const cards = new Map();

// Draws each region whose picture has changed since it was drawn.
export function showMap(state) {
  const place = document.getElementById("map");
  for (const [name, card] of cards) if (!state.regions.has(name)) { card.node.remove(); cards.delete(name); }
  const ordered = [...state.regions].sort(([one, a], [other, b]) => b.own - a.own || (one < other ? -1 : 1));
  for (const [name, region] of ordered) {
    const targets = (region.own ? ownTargets(state) : elsewhere(region))
      .sort((one, other) => ORDER.indexOf(one.severity) - ORDER.indexOf(other.severity) || (one.name < other.name ? -1 : 1));
    const facts = [region.own, region.fresh, region.suspect, region.nodes, region.fresh_nodes, region.load, region.fresh ? 0 : region.age];
    const mark = JSON.stringify([facts, targets]);
    let card = cards.get(name);
    if (!card) {
      card = { node: el("article", { class: "region", "aria-label": `Region ${name}` }), mark: "" };
      cards.set(name, card);
      place.append(card.node);
    }
    if (card.mark === mark) continue;
    card.mark = mark;
    draw(card.node, name, region, targets);
  }
}

function draw(node, name, region, targets) {
  const ill = targets.filter((each) => each.severity !== "ok");
  const [severity, says] = verdict(name, region, ill);
  const named = ill.slice(0, MOST_NAMED).map((each) => el("li", {},
    el("span", { class: `dot ${each.severity}`, "aria-hidden": "true" }), el("b", {}, each.name),
    el("span", { class: each.severity }, ` ${each.state}`),
    el("div", { class: "faint" }, [each.why, each.until].filter(Boolean).join("; "))));
  if (ill.length > MOST_NAMED) named.push(el("li", { class: "faint" }, `and ${ill.length - MOST_NAMED} more with trouble`));
  const squares = targets.slice(0, MOST_SQUARES).map((each) => el("i", { class: each.severity, title: `${each.name} ${each.state}` }));
  const rest = region.own ? "" : " in use";
  node.className = `region ${severity}`;
  node.replaceChildren(
    el("h3", {}, name, el("span", { class: "faint" }, region.own ? " this node's region" : "")),
    el("p", { class: severity }, says),
    el("div", { class: "squares", role: "img", "aria-label": `${targets.length} targets${rest}, ${ill.length} with trouble` }, ...squares),
    el("ul", { class: "plain" }, ...named),
    el("p", { class: "faint" }, `${region.fresh_nodes} of ${region.nodes} nodes heard, ${region.load} in flight, `
      + `${targets.length} targets${rest}`));
}
