// Incidents: the banner of open ones, the list, and one as a timeline with what operators may do.
import { call } from "/page/net.js";
import { ask, el, span, text, time } from "/page/draw.js";
import { playbook } from "/page/playbook.js";

let told = "";

export function banner(incidents, now) {
  const mark = JSON.stringify(incidents.map((each) => [each.id, each.acknowledged, each.impact, lasted(each, now)]));
  if (mark === told) return;
  told = mark;
  document.getElementById("banner").replaceChildren(...incidents.map((each) => card(each, now)));
}

function lasted(each, now) {
  const end = each.recovered || each.closed;
  if (each.where && !end && now - each.heard > 900) return `last heard of ${span(now - each.heard)} ago`;
  if (!end) return now - each.first_symptom < 60 ? "for less than a minute" : `for ${span(60 * Math.floor((now - each.first_symptom) / 60))}`;
  return `${each.closed ? "lasted" : "recovered after"} ${span(end - each.first_symptom)}`;
}

// What an incident means for callers, in one sentence.
function meaning({ requests, failed, delayed, shed }) {
  if (!requests) return "no request was touched yet";
  return [failed ? `${failed} of ${requests} requests failed` : `no request failed, of ${requests}`,
    delayed ? `${delayed} delayed` : "", shed ? `${shed} refused for want of room` : ""].filter(Boolean).join(", ");
}

function card(each, now) {
  return el("div", { class: each.closed ? "incident over" : "incident" },
    el("a", { href: `#incidents/${encodeURIComponent(each.id)}` }, el("b", {}, each.title)),
    each.where ? el("div", { class: "faint" }, `told by ${each.where}`) : null,
    el("div", {}, `${lasted(each, now)}; ${meaning(each.impact)}`),
    el("div", { class: "faint" }, `since ${time(each.first_symptom)} UTC; playbook ${each.playbook}`
      + `${each.acknowledged ? `; acknowledged: ${each.acknowledged}` : each.closed ? "" : "; nobody has acknowledged it"}`));
}

export async function showIncidents(name) {
  const list = document.getElementById("incidents");
  const article = document.getElementById("incident");
  if (!name) {
    const found = await call("/api/incidents");
    const now = Date.now() / 1000;
    list.replaceChildren(...(found.length ? found.map((each) => card(each, now)) : [el("p", {}, "No incident in the last 30 days.")]));
    article.replaceChildren();
    return;
  }
  list.replaceChildren(el("a", { href: "#incidents" }, "All incidents"));
  const path = `/api/incidents/${encodeURIComponent(decodeURIComponent(name))}`;
  const one = await call(path);
  const say = (action, title, label) => el("button", {
    type: "button",
    onclick: async () => {
      const done = await ask(title, one.title, label, { run: (words) => call(`${path}/${action}`, "POST", { text: words }) });
      if (done !== null) await showIncidents(name);
    },
  }, title);
  const { impact } = one;
  const page = one.page_said - one.opened;
  const facts = [
    ["Callers", `${meaning(impact)}; ${impact.degraded} answered by a later tier`],
    ["Answered by", (Object.entries(impact.answered_by).map(([who, count]) => `${who} (${count})`).join(", ") || "-")
      + (Object.values(impact.answered_by).reduce((sum, count) => sum + count, 0) > impact.requests ? ", for other aliases, too" : "")],
    ["Targets", one.targets.join(", ") || "-"], ["Regions", one.regions.join(", ") || "-"], ["Aliases", one.routes.join(", ") || "-"],
    ["Provider's page", one.page_said ? `spoke of it ${span(Math.abs(page))} ${page < 0 ? "before" : "after"} edge` : "has not spoken of it"],
    ...(one.playbook_url ? [["Your playbook", el("a", { href: one.playbook_url, rel: "noreferrer", target: "_blank" }, one.playbook)]] : []),
    ...one.elsewhere.map((each) => [`In ${each.where.split("/")[0]}`, el("a", { href: `#incidents/${encodeURIComponent(each.id)}` },
      `${lasted(each, Date.now() / 1000)}; ${meaning(each.impact)}${each.acknowledged ? `; acknowledged: ${each.acknowledged}` : ""}`)]),
    ["Acknowledged", one.acknowledged || "by nobody yet"],
    ...(one.missing.length ? [["Still missing", one.missing.join("; ")]] : []),
  ];
  const pre = el("pre", { hidden: true, tabindex: "0", "aria-label": "Post-mortem as Markdown" });
  article.replaceChildren(
    el("h2", {}, one.title),
    el("p", {}, `${lasted(one, Date.now() / 1000)}, since ${time(one.first_symptom)} UTC`),
    el("div", { class: "tools" },
      ...(one.where ? [`${one.where} keeps this incident: acknowledge it there. `]
        : [say("acknowledge", "Acknowledge", "Who looks after it"), say("note", "Add a note", "Note")]),
      el("button", { type: "button", onclick: async () => { text(pre, await call(`${path}?format=markdown`)); pre.hidden = false; } }, "Post-mortem")),
    el("dl", { class: "facts" }, ...facts.flatMap(([head, line]) => [el("dt", {}, head), el("dd", {}, line)])),
    el("details", { class: "playbook", open: !one.closed }, el("summary", {}, `Playbook: ${one.playbook}`), ...playbook(one.playbook_text)),
    el("h3", {}, "Timeline (UTC)"),
    el("ol", { class: "timeline" }, ...one.events.map((event) => el("li", {},
      el("time", { datetime: new Date(event.at * 1000).toISOString() }, time(event.at)), el("b", {}, `${event.what} `), event.text))),
    pre);
  article.focus();
}
