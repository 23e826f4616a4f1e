// Runs the official Node SDKs against edge, and prints what they were told as one JSON object.
// Arguments: the URL of edge.
import OpenAI, { toFile } from "openai";
import Anthropic from "@anthropic-ai/sdk";
import { GoogleGenAI } from "@google/genai";

const url = process.argv[2];
const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: "x", maxRetries: 0 });
const anthropic = new Anthropic({ baseURL: url, apiKey: "x", maxRetries: 0 });
const google = new GoogleGenAI({ apiKey: "x", vertexai: false, httpOptions: { baseUrl: url } });
const picture = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABpfZFQAAAAABJRU5ErkJggg==";
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

async function seen(model) {
  const source = { type: "base64", media_type: "image/png", data: picture };
  const content = [{ type: "image", source }, { type: "text", text: "what is it" }];
  const said = await anthropic.messages.create({ model, max_tokens: 1000, messages: [{ role: "user", content }] });
  const parts = [{ inlineData: { mimeType: "image/png", data: picture } }, { text: "what is it" }];
  const told = await google.models.generateContent({ model, contents: [{ role: "user", parts }] });
  return [said.content[0].text, told.text];
}

async function generated(model) {
  const whole = await google.models.generateContent({ model, contents: "hello" });
  let text = "";
  let finish;
  for await (const chunk of await google.models.generateContentStream({ model, contents: "hello" })) {
    text += chunk.text ?? "";
    finish = chunk.candidates?.[0]?.finishReason ?? finish;
  }
  const tools = [{ functionDeclarations: [{ name: "look", parametersJsonSchema: parameters }] }];
  let call;
  const asked = { model, contents: "look [tool]", config: { tools } };
  for await (const chunk of await google.models.generateContentStream(asked)) {
    call = chunk.functionCalls?.[0] ?? call;
  }
  const config = { responseMimeType: "application/json", responseJsonSchema: parameters };
  const json = JSON.parse((await google.models.generateContent({ model, contents: "hello", config })).text);
  return { whole: whole.text, streamed: text, finish, call, json, tokens: whole.usageMetadata.candidatesTokenCount };
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
  told[model] = { chat: await chat(model), message: await message(model), generated: await generated(model) };
  told[model].seen = await seen(model);
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
const params = { model: "sim-small", max_tokens: 9, messages };
const made2 = await anthropic.messages.batches.create({ requests: [{ custom_id: "one", params }] });
const results = [];
await anthropic.messages.batches.retrieve(made2.id);
for await (const line of await anthropic.messages.batches.results(made2.id)) {
  results.push([line.custom_id, line.result.type]);
}
const blob = new Blob(["what it says"], { type: "text/plain" });
const uploaded = await google.files.upload({ file: blob, config: { mimeType: "text/plain" } });
const part = { fileData: { fileUri: uploaded.uri, mimeType: uploaded.mimeType } };
told.vendors = {
  results,
  size: (await google.files.get({ name: uploaded.name })).sizeBytes,
  read: (await google.models.generateContent({ model: "gemini", contents: [{ role: "user", parts: [part] }] })).text !== "",
};
told.failures = {
  gemini: await failure(() => google.models.generateContent({ model: "none", contents: "hello" })),
  openai: await failure(() => openai.chat.completions.create({ model: "none", messages })),
  anthropic: await failure(() => anthropic.messages.create({ model: "none", max_tokens: 10, messages })),
};
console.log(JSON.stringify(told));
