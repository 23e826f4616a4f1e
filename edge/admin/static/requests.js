// Recorded requests with their waterfalls, and keys with their budgets.
import { call } from "/page/net.js";
import { el, ms, time } from "/page/draw.js";

export function table(heads, rows) {
  return el("table", {}, el("thead", {}, el("tr", {}, ...heads.map((head) => el("th", { scope: "col" }, head)))),
    el("tbody", {}, ...rows.map((cells) => el("tr", {}, ...cells.map((cell) => el("td", {}, cell))))));
}

export async function showRequests() {
  const wrong = document.getElementById("wrong").checked ? 1 : 0;
  const found = await call(`/api/traces?last=100&wrong=${wrong}`);
  const rows = found.map((one) => [
    el("button", { type: "button", onclick: () => waterfall(one) }, one.request_id || "refused"),
    time(one.started_ns / 1e9), one.route || "-", String(one.status), ms(one.duration_ns / 1e6), one.kept,
    one.attempts.map((each) => `${each.target} ${each.outcome}`).join(" > ") || "-",
  ]);
  document.getElementById("requests").replaceChildren(found.length
    ? table(["request", "at (UTC)", "route", "status", "took", "kept", "attempts"], rows)
    : el("p", {}, "No such request is recorded."));
}

function waterfall(one) {
  const whole = Math.max(one.duration_ns, 1);
  const line = (label, start, end, bad, words) => {
    const bar = el("i", { class: bad ? "bad" : "" });
    bar.style.left = `${(100 * Math.max(start, 0)) / whole}%`;
    bar.style.width = `${(100 * Math.max(end - start, 0)) / whole}%`;
    return el("div", { class: "line" }, el("span", {}, label), el("div", { class: "span" }, bar), el("span", { class: "n" }, words));
  };
  const article = document.getElementById("request");
  article.replaceChildren(
    el("h2", {}, `Request ${one.request_id || "without id"}`),
    el("p", {}, [one.route, one.model, one.reason].filter(Boolean).join(", ")),
    line("whole request", 0, whole, one.status >= 500 || one.status === 0, ms(whole / 1e6)),
    ...one.attempts.map((each) => {
      const end = each.ended_ns >= 0 ? each.ended_ns : whole;
      return line(`${each.target}${each.hedge ? " (hedge)" : ""} ${each.outcome}`, each.started_ns, end, each.outcome !== "ok", ms((end - each.started_ns) / 1e6));
    }),
    ...one.attempts.filter((each) => each.detail).map((each) => el("p", {}, `${each.target}: ${each.detail}`)));
  article.focus();
}

export async function showKeys() {
  const { keys, credentials } = await call("/api/keys");
  const left = (bound) => (bound === null ? "no limit" : `${bound.remaining} of ${bound.burst}`);
  const money = (one) => `${one.spent.toFixed(2)}${one.budget === null ? "" : ` of ${one.budget.toFixed(2)}`} USD`;
  document.getElementById("keys").replaceChildren(
    keys.length ? table(["key", "priority", "in flight", "requests left", "tokens left", "spent this month", "refused"],
      keys.map((one) => [one.name, one.priority, String(one.inflight), left(one.requests), left(one.tokens), money(one),
        Object.entries(one.refused).filter(([, count]) => count).map(([why, count]) => `${why} ${count}`).join(", ") || "-"]))
      : el("p", {}, "No key is configured."),
    credentials.length ? table(["provider", "in flight", "requests left", "tokens left", "cost"],
      credentials.map((one) => [one.name, String(one.inflight), left(one.requests), left(one.tokens), `${one.cost.toFixed(2)} USD`]))
      : el("p", {}, "No provider has limits."));
}
