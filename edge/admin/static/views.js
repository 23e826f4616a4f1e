// The views "now" and "targets". A row is [state, severity, why, until, inflight, first, errors, volume, answered].
import { call } from "/page/net.js";
import { ask, chart, el, ms, text } from "/page/draw.js";

const BOUNDS = [1, 2, 5, 10, 20, 30, 50, 75, 100, 150, 200, 300, 500, 750, 1000, 1500, 2000, 3000, 5000, 10000, 20000, 60000, 120000, 240000];
const POINTS = 600;
const past = [];       // what the last ten seconds' events counted
const rates = [], failures = [], p50 = [], p95 = [];
const asked = new Map();       // a second, by alias
const flows = new Map();       // a second, of each target of an alias, by alias

function push(list, value) {
  list.push(value);
  if (list.length > POINTS) list.shift();
}

function quantile(histogram, share) {
  const total = histogram.reduce((sum, count) => sum + count, 0);
  let below = 0;
  for (let place = 0; place < histogram.length; place += 1) {
    below += histogram[place];
    if (total && below >= share * total) return BOUNDS[place];
  }
  return null;
}

// Takes one event into the series of the charts.
export function note(state) {
  const now = { at: state.at, ended: 0, failed: 0, first: new Array(24).fill(0), answered: new Map(), asked: new Map() };
  for (const route of state.routes) {
    now.ended += route.ended;
    now.failed += route.failed;
    now.asked.set(route.name, route.ended);
    now.answered.set(route.name, { names: route.members.join(), counts: route.answered });
    route.first.forEach((count, place) => { now.first[place] += count; });
  }
  const last = past.at(-1);
  const before = past.find((each) => now.at - each.at <= 10.5);
  if (last) {
    const seconds = Math.max(now.at - last.at, 0.1);
    push(rates, Math.max(now.ended - last.ended, 0) / seconds);
    push(failures, Math.max(now.failed - last.failed, 0) / seconds);
  }
  if (before) {
    const grown = now.first.map((count, place) => Math.max(count - before.first[place], 0));
    push(p50, quantile(grown, 0.5));
    push(p95, quantile(grown, 0.95));
    const seconds = Math.max(now.at - before.at, 0.1);
    for (const [name, count] of now.asked) asked.set(name, Math.max(count - (before.asked.get(name) ?? count), 0) / seconds);
    for (const [name, { names, counts }] of now.answered) {
      const then = before.answered.get(name);    // after a reload a place may be that of another target
      flows.set(name, counts.map((count, place) => (then?.names === names ? Math.max(count - then.counts[place], 0) / seconds : 0)));
    }
  }
  past.push(now);
  if (past.length > 12) past.shift();
}

const shown = { routes: "", members: new Map(), aliases: new Map() };

export function showNow(state) {
  const count = (value) => (value >= 10 ? value.toFixed(0) : value.toFixed(1));
  chart(document.getElementById("chart-rate"),
    [{ color: "--a", values: rates }, { color: "--b", values: failures }], count);
  chart(document.getElementById("chart-first"),
    [{ color: "--a", values: p50 }, { color: "--c", values: p95 }], ms);
  text(document.getElementById("rate"), `${count(rates.at(-1) ?? 0)}, failed ${count(failures.at(-1) ?? 0)} (red)`);
  text(document.getElementById("first"), `p50 ${ms(p50.at(-1))} (blue), p95 ${ms(p95.at(-1))} (violet)`);
  const names = JSON.stringify(state.routes.map((route) => [route.name, route.members]));
  if (names !== shown.routes) build(state, names);
  const rungs = new Map(state.routes.map((route) => [route.name, route.rung && route.rung !== "first choice" ? `, ${route.rung}` : ""]));
  for (const [name, place] of shown.aliases) text(place, `${count(asked.get(name) ?? 0)}/s${rungs.get(name) ?? ""}`);
  const most = Math.max(...[...flows.values()].flat(), 0.001);
  for (const [alias, places] of shown.members) {
    const rates = flows.get(alias) ?? [];
    const whole = rates.reduce((sum, rate) => sum + rate, 0);
    places.forEach((place, at) => {
      const row = state.targets.get(place.name);
      const rate = rates[at] ?? 0;
      text(place.label, row ? `${place.name} ${row[0] === "usable" ? "" : row[0]}`.trim() : place.name);
      place.label.className = row ? row[1] : "";
      place.bar.style.width = `${(100 * rate) / most}%`;
      text(place.rate, whole ? `${count(rate)}/s, ${((100 * rate) / whole).toFixed(0)}%` : `${count(rate)}/s`);
    });
  }
  const pages = document.getElementById("pages");
  const said = Object.entries(state.pages).map(([name, [is, words]]) => `${name}: ${is}${words ? `, ${words}` : ""}`);
  if (pages.dataset.said !== said.join("\n")) {
    pages.dataset.said = said.join("\n");
    pages.replaceChildren(...(said.length ? said : ["none is read: no configured provider has one"]).map((line) => el("li", {}, line)));
  }
}

function build(state, names) {
  shown.routes = names;
  shown.members = new Map();
  shown.aliases = new Map(state.routes.map((route) => [route.name, el("span", { class: "faint" })]));
  document.getElementById("flow").replaceChildren(...state.routes.map((route) => el("div", { class: "alias" },
    el("div", {}, el("b", {}, route.name), " ", shown.aliases.get(route.name)),
    el("div", {}, ...route.members.map(([name, tier]) => {
      const place = { name, label: el("span", {}, name), bar: el("div", { class: "bar" }), rate: el("span", { class: "n" }) };
      shown.members.set(route.name, [...(shown.members.get(route.name) ?? []), place]);
      return el("div", { class: "member", title: `tier ${tier}` }, place.label, el("div", { class: "track" }, place.bar), place.rate);
    })))));
}

const rows = new Map();

function act(name, action) {
  const says = {
    drain: "It finishes its requests and gets no new ones, on this node, until it is restored.",
    eject: "The same as drain, for a target that misbehaves.",
    restore: "It takes requests again, with its circuit as it is.",
  };
  ask(`${action} ${name}?`, says[action], "Reason", {
    optional: action === "restore",
    run: (reason) => call(`/api/targets/${encodeURIComponent(name)}/${action}`, "PUT", { reason }),
  });
}

function rowOf(name) {
  const cells = Array.from({ length: 6 }, (_, place) => el(place ? "td" : "th", place ? (place > 2 ? { class: "n" } : {}) : { scope: "row" }));
  const button = (action) => el("button", { type: "button", "aria-label": `${action} ${name}`, onclick: () => act(name, action) }, action);
  const row = el("tr", {}, ...cells, el("td", {}, button("drain"), " ", button("eject"), " ", button("restore")));
  text(cells[0], name);
  return { row, cells };
}

// Updates the rows that changed; all of them when the filter did.
export function showTargets(state, whole) {
  const body = document.getElementById("targets");
  const find = document.getElementById("find").value.toLowerCase();
  const ill = document.getElementById("ill").checked;
  for (const name of state.gone) { rows.get(name)?.row.remove(); rows.delete(name); }
  state.gone = [];
  const fits = (name, row) => name.toLowerCase().includes(find) && (!ill || row[1] !== "ok");
  const added = document.createDocumentFragment();
  for (const name of whole ? state.targets.keys() : state.changed) {
    const row = state.targets.get(name);
    if (!row) continue;
    if (!rows.has(name)) { rows.set(name, rowOf(name)); added.append(rows.get(name).row); }
    const { row: line, cells } = rows.get(name);
    text(cells[1], row[0]);
    cells[1].className = row[1];
    text(cells[2], row[2] + (row[3] ? ` (${row[3]} s left)` : ""));
    text(cells[3], String(row[4]));
    text(cells[4], ms(row[5]));
    text(cells[5], row[7] ? `${(100 * row[6]).toFixed(0)}% of ${row[7]}` : "-");
    line.hidden = !fits(name, row);
  }
  body.append(added);
  state.changed.clear();
  const seen = [...state.targets].filter(([name, row]) => fits(name, row)).length;
  text(document.getElementById("count"), `${seen} of ${state.targets.size} targets`);
}
