// Requests to the admin API, with the token of this tab, and the stream of events.
import { ask, operator } from "/page/draw.js";

const KEY = "edge-token";
let asking = null;

function headers() {
  const token = sessionStorage.getItem(KEY);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

async function login() {
  asking ??= ask("Log in", "This node asks for admin.token. It is kept until this tab is closed.", "Token", { secret: true })
    .then((token) => { if (token !== null) sessionStorage.setItem(KEY, token); return token; })
    .finally(() => { asking = null; });
  return asking;
}

async function fetched(path, options = {}) {
  for (;;) {
    const answer = await fetch(path, { ...options, headers: { ...headers(), ...options.headers } });
    if (answer.status !== 401) return answer;
    sessionStorage.removeItem(KEY);
    if ((await login()) === null) throw new Error("no token was given");
  }
}

export async function call(path, method = "GET", body = undefined) {
  const options = { method, headers: {} };
  if (method !== "GET" && operator()) options.headers["X-Edge-Operator"] = encodeURIComponent(operator());
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  const answer = await fetched(path, options);
  const found = answer.headers.get("content-type")?.startsWith("application/json") ? await answer.json() : await answer.text();
  if (!answer.ok) throw new Error([found.error ?? `status ${answer.status}`, ...(found.problems ?? [])].join("\n"));
  return found;
}

// Calls take(event) with each event, and down(sentence) while the node cannot be reached; it never ends.
export async function stream(take, down) {
  for (;;) {
    try {
      const answer = await fetched("/api/stream");
      if (!answer.ok) throw new Error((await answer.json()).error);
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        rest += value;
        const parts = rest.split("\n\n");
        rest = parts.pop();
        for (const part of parts) if (part.startsWith("data: ")) take(JSON.parse(part.slice(6)));
      }
      down("the node closed the connection; trying again");
    } catch (error) {
      down(`${error.message}; trying again`);
    }
    await new Promise((done) => setTimeout(done, 1000));
  }
}
