// Runs the official Node SDKs against edge, and prints what they were told as one JSON object.
// Arguments: the URL of edge.
import OpenAI, { toFile } from "openai";
import Anthropic from "@anthropic-ai/sdk";

const url = process.argv[2];
const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: "x", maxRetries: 0 });
const anthropic = new Anthropic({ baseURL: url, apiKey: "x", maxRetries: 0 });
const messages = [{ role: "user", content: "hello" }];
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const told = {};

async function chat(model) {
  const whole = await openai.chat.completions.create({ model, messages });
  let text = "";
  for await (const chunk of await openai.chat.completions.create({ model, messages, stream: true })) {
    text += chunk.choices[0]?.delta?.content ?? "";
  }
  return { whole: whole.choices[0].message.content, streamed: text, finish: whole.choices[0].finish_reason };
}

async function message(model) {
  const whole = await anthropic.messages.create({ model, max_tokens: 1000, messages });
  const final = await anthropic.messages.stream({ model, max_tokens: 1000, messages }).finalMessage();
  const tools = [{ name: "look", input_schema: parameters }];
  const asked = [{ role: "user", content: "look [tool]" }];
  const called = await anthropic.messages.stream({ model, max_tokens: 1000, messages: asked, tools }).finalMessage();
  return {
    whole: whole.content[0].text,
    streamed: final.content[0].text,
    finish: final.stop_reason,
    call: called.content.find((block) => block.type === "tool_use"),
  };
}

async function failure(call) {
  try {
    await call();
    return null;
  } catch (error) {
    return { name: error.constructor.name, status: error.status };
  }
}

for (const model of ["openai", "responses", "anthropic", "gemini"]) {
  told[model] = { chat: await chat(model), message: await message(model) };
}
const made = await openai.responses.create({ model: "responses", input: "hello" });
const events = [];
for await (const event of await openai.responses.create({ model: "responses", input: "hello", stream: true })) {
  events.push(event.type);
}
const file = await openai.files.create({ file: await toFile(Buffer.from("{}\n"), "a.jsonl"), purpose: "batch" });
const endpoint = "/v1/chat/completions";
const batch = await openai.batches.create({ input_file_id: file.id, endpoint, completion_window: "24h" });
told.kept = {
  response: (await openai.responses.retrieve(made.id)).id === made.id,
  events: [events[0], events.at(-1)],
  file: (await openai.files.retrieve(file.id)).filename,
  content: await (await openai.files.content(file.id)).text(),
  batch: (await openai.batches.retrieve(batch.id)).status,
};
told.failures = {
  openai: await failure(() => openai.chat.completions.create({ model: "none", messages })),
  anthropic: await failure(() => anthropic.messages.create({ model: "none", max_tokens: 10, messages })),
};
console.log(JSON.stringify(told));
