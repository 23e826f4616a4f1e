// Incidents: the banner of open ones, the list, and one as a timeline with what operators may do.
import { call } from "/page/net.js";
import { ask, el, text, time } from "/page/draw.js";

let told = "";

export function banner(incidents, mark) {
  if (mark === told) return;
  told = mark;
  document.getElementById("banner").replaceChildren(...incidents.map((each) => card(each)));
}

function card(each) {
  const { impact } = each;
  const end = each.recovered || each.closed;
  const lasted = end ? `${((end - each.first_symptom) / 60).toFixed(1)} minutes` : "still open";
  return el("div", { class: each.closed ? "incident over" : "incident" },
    el("a", { href: `#incidents/${encodeURIComponent(each.id)}` }, el("b", {}, each.title)),
    el("div", {}, `since ${time(each.first_symptom)} UTC, ${lasted}; ${impact.requests} requests, ${impact.failed} failed, `
      + `${impact.delayed} delayed${each.acknowledged ? `; acknowledged: ${each.acknowledged}` : ""}`));
}

export async function showIncidents(name) {
  const found = await call("/api/incidents");
  const list = document.getElementById("incidents");
  list.replaceChildren(...(found.length ? found.map(card) : [el("p", {}, "No incident in the last 30 days.")]));
  const article = document.getElementById("incident");
  if (!name) { article.replaceChildren(); return; }
  const id = decodeURIComponent(name);
  const path = `/api/incidents/${encodeURIComponent(id)}`;
  const one = await call(path);
  const say = (action, title, label) => el("button", {
    type: "button",
    onclick: async () => {
      const done = await ask(title, one.title, label, { run: (words) => call(`${path}/${action}`, "POST", { text: words }) });
      if (done !== null) await showIncidents(name);
    },
  }, title);
  const { impact } = one;
  const facts = [
    `Targets: ${one.targets.join(", ") || "-"}`, `Regions: ${one.regions.join(", ")}`, `Routes: ${one.routes.join(", ") || "-"}`,
    `Callers: ${impact.requests} requests, ${impact.failed} failed, ${impact.delayed} delayed, ${impact.degraded} by a later tier, ${impact.shed} shed`,
    `Answered by: ${Object.entries(impact.answered_by).map(([who, count]) => `${who} (${count})`).join(", ") || "-"}`,
    `Playbook: ${one.playbook}`,
    ...one.missing.map((each) => `Still missing: ${each}`),
  ];
  const pre = el("pre", { hidden: true, tabindex: "0", "aria-label": "Post-mortem as Markdown" });
  article.replaceChildren(
    el("h2", {}, one.title),
    el("div", { class: "tools" }, say("acknowledge", "Acknowledge", "Who looks after it"), say("note", "Add a note", "Note"),
      el("button", { type: "button", onclick: async () => { text(pre, await call(`${path}?format=markdown`)); pre.hidden = false; } }, "Post-mortem")),
    el("ul", { class: "plain" }, ...facts.map((line) => el("li", {}, line))),
    el("ol", { class: "timeline" }, ...one.events.map((event) => el("li", {},
      el("time", { datetime: new Date(event.at * 1000).toISOString() }, time(event.at)), el("b", {}, `${event.what} `), event.text))),
    pre);
  article.focus();
}
