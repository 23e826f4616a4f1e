// Sends frames to an echo server and compares what returns: node client.js URL
'use strict';
const assert = require('node:assert');
const {once} = require('node:events');
const WebSocket = require('ws');

const url = process.argv[2];
const within = {signal: AbortSignal.timeout(90000)};

async function opened(protocols = [], options = {}) {
  const socket = new WebSocket(url, protocols, options);
  await once(socket, 'open', within);
  return socket;
}

async function echoed(message, options = {}, socketOptions = {}) {
  const socket = await opened([], socketOptions);
  socket.send(message, options);
  const [data, isBinary] = await once(socket, 'message', within);
  socket.close(1000);
  await once(socket, 'close', within);
  assert.strictEqual(isBinary, typeof message !== 'string');
  assert.ok(Buffer.from(data).equals(Buffer.from(message)), `${data.length} bytes came back`);
}

const cases = {};
for (const size of [0, 1, 125, 126, 127, 65535, 65536, 1048576]) {
  cases[`text ${size}`] = () => echoed('x'.repeat(size));
  cases[`binary ${size}`] = () => echoed(Buffer.alloc(size, 7));
  cases[`compressed ${size}`] = () => echoed('xy'.repeat(size / 2), {compress: true}, {perMessageDeflate: {threshold: 0}});
  cases[`uncompressed ${size}`] = () => echoed(Buffer.alloc(size, 9), {}, {perMessageDeflate: false});
}
Object.assign(cases, {
  'unicode': () => echoed('\u263a\u{1f608} Grüße'),
  async 'fragments'() {
    const socket = await opened();
    socket.send('one ', {fin: false});
    socket.ping('between');
    socket.send('two ', {fin: false});
    socket.send('three', {fin: true});
    const [data] = await once(socket, 'message', within);
    assert.strictEqual(data.toString(), 'one two three');
    socket.terminate();
  },
  async 'ping'() {
    const socket = await opened();
    socket.ping('are you there');
    const [data] = await once(socket, 'pong', within);
    assert.strictEqual(data.toString(), 'are you there');
    socket.terminate();
  },
  async 'many messages'() {
    const socket = await opened();
    let got = 0;
    const all = new Promise((resolve) => socket.on('message', (data) => {
      assert.strictEqual(data.toString(), `message ${got}`);
      got += 1;
      if (got === 2000) resolve();
    }));
    for (let at = 0; at < 2000; at += 1) socket.send(`message ${at}`);
    await all;
    socket.terminate();
  },
  async 'subprotocol'() {
    const socket = await opened(['edge.one', 'edge.two']);
    assert.strictEqual(socket.protocol, 'edge.two');
    socket.terminate();
  },
});
for (const code of [1000, 1001, 1003, 1008, 1011, 3000, 4999]) {
  cases[`closed with ${code}`] = async () => {
    const socket = await opened();
    socket.send(`close ${code}`);
    const [got, reason] = await once(socket, 'close', within);
    assert.deepStrictEqual([got, reason.toString()], [code, 'as asked']);
  };
}

(async () => {
  for (const [name, test] of Object.entries(cases)) {
    try {
      await test();
      console.log(`${name}: ok`);
    } catch (error) {
      console.log(`${name}: ${String(error.message).replace(/\s+/g, ' ').slice(0, 200)}`);
    }
  }
})();
