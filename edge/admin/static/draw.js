// Elements, the dialog that asks before anything is changed, and the charts. Text is always set as text, never as markup.

export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") made.className = value;
    else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== null && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

export function text(node, value) {
  if (node.textContent !== value) node.textContent = value;
}

export function time(seconds) {
  return new Date(seconds * 1000).toISOString().slice(0, 19).replace("T", " ");
}

export function ms(value) {
  if (value === null || value === undefined) return "-";
  return value >= 10000 ? `${(value / 1000).toFixed(1)} s` : `${Math.round(value)} ms`;
}

// A span of time in words.
export function span(seconds) {
  const whole = Math.max(Math.round(seconds), 0);
  if (whole < 120) return `${whole} s`;
  return whole < 7200 ? `${Math.floor(whole / 60)} min` : `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

const WHO = "edge-operator";

// The name that the operator of this browser has given, for the history; "" if none.
export function operator() {
  return localStorage.getItem(WHO) ?? "";
}

// Asks for a text; returns it, or null. With run, it is called on confirmation, and its error is shown in the dialog.
// With run it asks for the operator's name, too: something is about to be changed.
export function ask(title, sentence, label, { secret = false, optional = false, run = null } = {}) {
  const dialog = document.getElementById("ask");
  const [input, error, name] = ["ask-input", "ask-error", "ask-name"].map((id) => document.getElementById(id));
  text(document.getElementById("ask-title"), title);
  text(document.getElementById("ask-text"), sentence);
  text(document.querySelector("#ask-label span"), label);
  document.getElementById("ask-label").hidden = !label;
  document.getElementById("ask-who").hidden = !run;
  name.value = operator();
  input.type = secret ? "password" : "text";
  input.value = "";
  text(error, "");
  return new Promise((answer) => {
    const finish = (value) => {
      dialog.querySelector("form").onsubmit = null;
      if (dialog.open) dialog.close();
      answer(value);
    };
    document.getElementById("ask-no").onclick = () => finish(null);
    dialog.oncancel = () => finish(null);
    dialog.querySelector("form").onsubmit = async (event) => {
      event.preventDefault();
      const value = input.value.trim();
      if (label && !value && !optional) { text(error, "Write one line."); return; }
      if (run) localStorage.setItem(WHO, name.value.trim());
      try {
        if (run) await run(value);
        finish(value);
      } catch (failure) {
        text(error, failure.message);
      }
    };
    dialog.showModal();
    if (label) input.focus();
  });
}

const GAP = 4;

// Draws lines over the last points, one a second: series are {color: "--a", values: [...]}; null leaves a gap.
export function chart(canvas, series, unit) {
  const style = getComputedStyle(document.documentElement);
  const scale = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (!width) return;
  canvas.width = width * scale;
  canvas.height = height * scale;
  const to = canvas.getContext("2d");
  to.scale(scale, scale);
  to.font = "12px system-ui,sans-serif";
  const top = Math.max(...series.flatMap((each) => each.values.map((value) => value ?? 0)), 1e-9) * 1.15;
  const count = Math.max(...series.map((each) => each.values.length), 60);
  const left = 52, bottom = height - 18;
  to.strokeStyle = style.getPropertyValue("--line");
  to.fillStyle = style.getPropertyValue("--faint");
  for (const share of [0, 0.5, 1]) {
    const y = bottom - share * (bottom - GAP);
    to.beginPath(); to.moveTo(left, y); to.lineTo(width, y); to.stroke();
    to.fillText(unit(share * top), 0, Math.max(y, 12));
  }
  to.fillText(`${span(count)} ago`, left, height - 4);
  to.fillText("now", width - 24, height - 4);
  for (const { color, values } of series) {
    to.strokeStyle = style.getPropertyValue(color);
    to.lineWidth = 2;
    to.beginPath();
    let drawn = false;
    values.forEach((value, place) => {
      if (value === null) { drawn = false; return; }
      const x = left + ((place + count - values.length) / (count - 1)) * (width - left);
      const y = bottom - (value / top) * (bottom - GAP);
      if (drawn) to.lineTo(x, y); else to.moveTo(x, y);
      drawn = true;
    });
    to.stroke();
  }
}
