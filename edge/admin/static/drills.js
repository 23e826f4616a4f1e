// Results of drills that `edge drill run NAME --send` has left at this node.
import { call } from "/page/net.js";
import { el, time } from "/page/draw.js";
import { table } from "/page/requests.js";

export async function showDrills() {
  const found = await call("/api/drills");
  document.getElementById("drills").replaceChildren(...(found.length ? found.map(card) : [
    el("p", {}, "No drill was sent to this node. ", el("code", {}, "edge drill run march -c edge.yaml --send"),
      " plays an outage against a configuration, and leaves its scores here.")]));
}

function card(one) {
  const word = (met) => (met === null ? "" : el("span", { class: met ? "ok" : "failing" }, met ? "met" : "not met"));
  return el("details", { class: "drill" },
    el("summary", {}, el("b", {}, one.title), " ", word(one.met), " ",
      el("span", { class: "faint" }, `${time(one.at)} UTC; ${one.source}, model ${one.model || "-"}, seed ${one.seed}${one.by ? `; ${one.by}` : ""}`)),
    el("div", { class: "wide" }, table(["", "figure", "floor", ""],
      one.scores.map((score) => [score.what, score.value, score.floor, word(score.met)]))),
    el("ul", {}, ...one.notes.map((note) => el("li", {}, note))));
}
