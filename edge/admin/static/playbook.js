// A playbook as elements: the Markdown that docs/playbooks uses (headings, paragraphs, lists, bold, code), always as text.
import { el } from "/page/draw.js";

function words(line) {
  return line.split(/(\*\*[^*]+\*\*|`[^`]+`)/).filter(Boolean).map((part) => {
    if (part.startsWith("**")) return el("b", {}, part.slice(2, -2));
    return part.startsWith("`") ? el("code", {}, part.slice(1, -1)) : part;
  });
}

export function playbook(markdown) {
  const found = [];
  for (const block of markdown.trim().split(/\n{2,}/)) {
    const lines = block.split("\n");
    if (lines[0].startsWith("# ")) { found.push(el("p", {}, el("b", {}, lines[0].slice(2)))); continue; }
    const marked = /^(- |\d+\. )/;
    if (!marked.test(lines[0])) { found.push(el("p", {}, ...words(lines.join(" ")))); continue; }
    const items = [];
    for (const line of lines) {
      if (marked.test(line)) items.push(line.replace(marked, "")); else items[items.length - 1] += ` ${line.trim()}`;
    }
    found.push(el(lines[0].startsWith("- ") ? "ul" : "ol", {}, ...items.map((item) => el("li", {}, ...words(item)))));
  }
  return found;
}
