// Calls grpc.testing.TestService with @grpc/grpc-js: node client.js HOST:PORT FOLDER-OF-PROTOS
// Prints "NAME: ok", or what went wrong, for each case of grpc/grpc, doc/interop-test-descriptions.md.
'use strict';
const assert = require('node:assert');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const [address, protos] = process.argv.slice(2);
const definition = loader.loadSync('grpc/testing/test.proto', {includeDirs: [protos], keepCase: true, defaults: true});
const {testing} = grpc.loadPackageDefinition(definition).grpc;
const client = new testing.TestService(address, grpc.credentials.createInsecure());
const soon = () => ({deadline: Date.now() + 10000});

const unary = (method, request, metadata = new grpc.Metadata(), options = soon()) =>
  new Promise((resolve) => {
    const seen = {};
    const call = client[method](request, metadata, options, (error, answer) => { seen.error = error; seen.answer = answer; });
    call.on('metadata', (initial) => { seen.initial = initial; });
    call.on('status', (status) => { seen.status = status; setImmediate(() => resolve(seen)); });
  });

const collected = (call) => new Promise((resolve) => {
  const seen = {messages: [], call};
  call.on('data', (message) => seen.messages.push(message));
  call.on('error', () => {});
  call.on('status', (status) => { seen.status = status; resolve(seen); });
});

const sizes = [31415, 9, 2653, 58979];
const asked = (size, body = 0) =>
  ({response_parameters: [{size}], ...(body ? {payload: {body: Buffer.alloc(body)}} : {})});

const cases = {
  async empty_unary() {
    const {error, answer} = await unary('EmptyCall', {});
    assert.ifError(error);
    assert.deepStrictEqual({...answer}, {});
  },
  async large_unary() {
    const {error, answer} = await unary('UnaryCall', {response_size: 314159, payload: {body: Buffer.alloc(271828)}});
    assert.ifError(error);
    assert.strictEqual(answer.payload.body.length, 314159);
  },
  async client_streaming() {
    const answer = await new Promise((resolve, reject) => {
      const call = client.StreamingInputCall(soon(), (error, value) => (error ? reject(error) : resolve(value)));
      for (const size of [27182, 8, 1828, 45904]) call.write({payload: {body: Buffer.alloc(size)}});
      call.end();
    });
    assert.strictEqual(answer.aggregated_payload_size, 74922);
  },
  async server_streaming() {
    const call = client.StreamingOutputCall({response_parameters: sizes.map((size) => ({size}))}, soon());
    const {messages, status} = await collected(call);
    assert.strictEqual(status.code, 0);
    assert.deepStrictEqual(messages.map((one) => one.payload.body.length), sizes);
  },
  async ping_pong() {
    const call = client.FullDuplexCall(soon());
    const got = [];
    let at = 0;
    call.write(asked(sizes[0], 27182));
    call.on('data', (message) => {
      got.push(message.payload.body.length);
      at += 1;
      if (at < sizes.length) call.write(asked(sizes[at], 8)); else call.end();
    });
    const status = await new Promise((resolve) => { call.on('error', () => {}); call.on('status', resolve); });
    assert.strictEqual(status.code, 0);
    assert.deepStrictEqual(got, sizes);
  },
  async empty_stream() {
    const call = client.FullDuplexCall(soon());
    call.end();
    const {messages, status} = await collected(call);
    assert.deepStrictEqual([messages.length, status.code], [0, 0]);
  },
  async timeout_on_sleeping_server() {
    const call = client.FullDuplexCall({deadline: Date.now() + 50});
    call.write({payload: {body: Buffer.alloc(27182)}});
    const {status} = await collected(call);
    assert.strictEqual(status.code, grpc.status.DEADLINE_EXCEEDED);
  },
  async cancel_after_begin() {
    const status = await new Promise((resolve) => {
      const call = client.StreamingInputCall(soon(), () => {});
      call.on('status', resolve);
      setTimeout(() => call.cancel(), 50);
    });
    assert.strictEqual(status.code, grpc.status.CANCELLED);
  },
  async cancel_after_first_response() {
    const call = client.FullDuplexCall(soon());
    call.write(asked(31415, 27182));
    call.on('data', () => call.cancel());
    const {status} = await collected(call);
    assert.strictEqual(status.code, grpc.status.CANCELLED);
  },
  async custom_metadata() {
    const metadata = new grpc.Metadata();
    metadata.set('x-grpc-test-echo-initial', 'test_initial_metadata_value');
    metadata.set('x-grpc-test-echo-trailing-bin', Buffer.from([0xab, 0xab, 0xab]));
    const {error, initial, status} = await unary('UnaryCall', {response_size: 10}, metadata);
    assert.ifError(error);
    assert.deepStrictEqual(initial.get('x-grpc-test-echo-initial'), ['test_initial_metadata_value']);
    assert.deepStrictEqual(status.metadata.get('x-grpc-test-echo-trailing-bin'), [Buffer.from([0xab, 0xab, 0xab])]);
  },
  async status_code_and_message() {
    const {status} = await unary('UnaryCall', {response_status: {code: 2, message: 'test status message'}});
    assert.deepStrictEqual([status.code, status.details], [2, 'test status message']);
  },
  async special_status_message() {
    const message = '\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \u{1f608}\t\n';
    const {status} = await unary('UnaryCall', {response_status: {code: 2, message}});
    assert.deepStrictEqual([status.code, status.details], [2, message]);
  },
  async unimplemented_method() {
    const {status} = await unary('UnimplementedCall', {});
    assert.strictEqual(status.code, grpc.status.UNIMPLEMENTED);
  },
};

(async () => {
  for (const [name, test] of Object.entries(cases)) {
    try {
      await test();
      console.log(`${name}: ok`);
    } catch (error) {
      console.log(`${name}: ${String(error.message).replace(/\s+/g, ' ').slice(0, 200)}`);
    }
  }
  client.close();
})();
