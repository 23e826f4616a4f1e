// Asks with OpenAI's SDK for Node.js: node client.mjs URL KEY MODEL... Prints "NAME: ok", or what went wrong.
import assert from 'node:assert';
import OpenAI from 'openai';
import {zodResponseFormat} from 'openai/helpers/zod';
import {z} from 'zod';

const [baseURL, apiKey, ...models] = process.argv.slice(2);
const client = new OpenAI({baseURL, apiKey, maxRetries: 0, timeout: 30000});
const messages = [{role: 'user', content: 'What is the weather in Paris?'}];
const parameters = {type: 'object', properties: {city: {type: 'string'}}, required: ['city']};
const tools = [{type: 'function', function: {name: 'get_weather', parameters}}];

const once = {
  async 'models'() {
    const ids = [];
    for await (const one of client.models.list()) ids.push(one.id);
    for (const model of models) assert.ok(ids.includes(model), model);
  },
  async 'embeddings'() {
    assert.strictEqual((await client.embeddings.create({model: 'embed', input: ['one', 'two']})).data.length, 2);
  },
  async 'unknown model'() {
    await assert.rejects(client.chat.completions.create({model: 'none', messages}), OpenAI.NotFoundError);
  },
  async 'unknown key'() {
    const other = new OpenAI({baseURL, apiKey: 'sk-wrong', maxRetries: 0});
    await assert.rejects(async () => { await other.models.list(); }, OpenAI.AuthenticationError);
  },
};
const each = {
  async 'chat'(model) {
    const answer = await client.chat.completions.create({model, messages});
    assert.ok(answer.choices[0].message.content);
    assert.strictEqual(answer.choices[0].finish_reason, 'stop');
    assert.ok(answer.usage.completion_tokens > 0);
  },
  async 'stream'(model) {
    let text = '';
    let end = null;
    let usage = null;
    const options = {model, messages, stream: true, stream_options: {include_usage: true}};
    for await (const chunk of await client.chat.completions.create(options)) {
      text += chunk.choices[0]?.delta.content ?? '';
      end = chunk.choices[0]?.finish_reason ?? end;
      usage = chunk.usage ?? usage;
    }
    assert.ok(text);
    assert.strictEqual(end, 'stop');
    assert.ok(usage.total_tokens > 0);
  },
  async 'left'(model) {
    const stream = await client.chat.completions.create({model, messages, stream: true});
    for await (const chunk of stream) { assert.ok(chunk); break; }
  },
  async 'tools'(model) {
    const answer = await client.chat.completions.create({model, messages, tools, tool_choice: 'required'});
    assert.strictEqual(answer.choices[0].finish_reason, 'tool_calls');
    assert.strictEqual(typeof JSON.parse(answer.choices[0].message.tool_calls[0].function.arguments), 'object');
  },
  async 'streamed tools'(model) {
    const answer = await client.chat.completions.stream({model, messages, tools, tool_choice: 'required'}).finalChatCompletion();
    assert.strictEqual(typeof JSON.parse(answer.choices[0].message.tool_calls[0].function.arguments), 'object');
  },
  async 'structured'(model) {
    const format = zodResponseFormat(z.object({name: z.string(), age: z.number()}), 'person');
    const answer = await client.chat.completions.parse({model, messages, response_format: format});
    assert.strictEqual(typeof answer.choices[0].message.parsed.age, 'number');
  },
  async 'responses'(model) {
    assert.ok((await client.responses.create({model, input: 'hello'})).output_text);
    const streamed = await client.responses.stream({model, input: 'hello'}).finalResponse();
    assert.ok(streamed.output.at(-1).content[0].text);
  },
};

async function report(name, test) {
  try {
    await test();
    console.log(`${name}: ok`);
  } catch (error) {
    console.log(`${name}: ${String(error.stack).replace(/\s+/g, ' ').slice(0, 250)}`);
  }
}

for (const [name, test] of Object.entries(once)) await report(name, test);
for (const model of models) {
  for (const [name, test] of Object.entries(each)) await report(`${model} ${name}`, () => test(model));
}
