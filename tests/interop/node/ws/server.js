// Echoes WebSocket messages; "close CODE" closes with that code: node server.js PORT
'use strict';
const {WebSocketServer} = require('ws');

const server = new WebSocketServer({
  host: '127.0.0.1', port: Number(process.argv[2]), perMessageDeflate: true, maxPayload: 16 * 1024 * 1024,
  handleProtocols: (offered) => (offered.has('edge.two') ? 'edge.two' : false),
});
server.on('connection', (socket) => {
  socket.on('error', () => {});
  socket.on('message', (data, isBinary) => {
    const close = !isBinary && /^close (\d+)$/.exec(data.toString());
    if (close) socket.close(Number(close[1]), 'as asked'); else socket.send(data, {binary: isBinary});
  });
});
