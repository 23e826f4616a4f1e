// Asks with Vercel's AI SDK: node client.mjs URL KEY MODEL... Prints "NAME: ok", or what went wrong.
import assert from 'node:assert';
import {createOpenAI} from '@ai-sdk/openai';
import {createOpenAICompatible} from '@ai-sdk/openai-compatible';
import {embedMany, generateObject, generateText, streamText, tool} from 'ai';
import {z} from 'zod';

const [baseURL, apiKey, ...models] = process.argv.slice(2);
const openai = createOpenAI({baseURL, apiKey});
const compatible = createOpenAICompatible({name: 'edge', baseURL, apiKey, supportsStructuredOutputs: true, includeUsage: true});
const prompt = 'What is the weather in Paris?';
const weather = tool({inputSchema: z.object({city: z.string()})});
const common = {maxRetries: 0, abortSignal: AbortSignal.timeout(90000)};

const once = {
  async 'embeddings'() {
    const {embeddings} = await embedMany({model: compatible.textEmbeddingModel('embed'), values: ['one', 'two'], ...common});
    assert.strictEqual(embeddings.length, 2);
  },
  async 'unknown model'() {
    await assert.rejects(generateText({model: compatible('none'), prompt, ...common}), (error) => error.statusCode === 404);
  },
};
const each = {
  async 'chat'(model) {
    const {text, finishReason, usage} = await generateText({model: compatible(model), prompt, ...common});
    assert.ok(text);
    assert.strictEqual(finishReason, 'stop');
    assert.ok(usage.outputTokens > 0);
  },
  async 'stream'(model) {
    const result = streamText({model: compatible(model), prompt, ...common, onError: ({error}) => { throw error; }});
    let text = '';
    for await (const part of result.textStream) text += part;
    assert.ok(text);
    assert.strictEqual(await result.finishReason, 'stop');
    assert.ok((await result.usage).outputTokens > 0);
  },
  async 'tools'(model) {
    const {toolCalls} = await generateText({model: compatible(model), prompt, tools: {weather}, toolChoice: 'required', ...common});
    assert.strictEqual(typeof toolCalls[0].input.city, 'string');
  },
  async 'streamed tools'(model) {
    const result = streamText({model: compatible(model), prompt, tools: {weather}, toolChoice: 'required', ...common});
    await result.consumeStream();
    assert.strictEqual(typeof (await result.toolCalls)[0].input.city, 'string');
  },
  async 'structured'(model) {
    const schema = z.object({name: z.string(), age: z.number()});
    const {object} = await generateObject({model: compatible(model), schema, prompt, ...common});
    assert.strictEqual(typeof object.age, 'number');
  },
  async 'responses'(model) {
    const {text} = await generateText({model: openai.responses(model), prompt, ...common});
    assert.ok(text);
    const result = streamText({model: openai.responses(model), prompt, ...common});
    let streamed = '';
    for await (const part of result.textStream) streamed += part;
    assert.ok(streamed);
  },
};

async function report(name, test) {
  try {
    await test();
    console.log(`${name}: ok`);
  } catch (error) {
    console.log(`${name}: ${String(error.stack ?? error).replace(/\s+/g, ' ').slice(0, 250)}`);
  }
}

for (const [name, test] of Object.entries(once)) await report(name, test);
for (const model of models) {
  for (const [name, test] of Object.entries(each)) await report(`${model} ${name}`, () => test(model));
}
process.exit(0);
