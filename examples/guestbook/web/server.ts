import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import { hostname } from 'node:os';
import { redis } from './redis.ts';

// GET / shows the messages (JSON for clients that ask for it), POST /messages adds one, GET /healthz says whether
// Redis answers.
const store = { host: process.env['REDIS_HOST'] ?? 'redis', port: Number(process.env['REDIS_PORT'] ?? 6379) };
const port = Number(process.env['PORT'] ?? 3000);
const messagesShownMax = 50;
const messageBytesMax = 4_096;

const server = createServer((request, response) => {
  console.log(`${request.socket.remoteAddress} ${request.method} ${request.url}`);
  handle(request, response).catch((error: Error) => {
    console.error(error.message);
    send(response, 503, 'text/plain', `${error.message}\n`);
  });
});
server.listen(port, () => console.log(`guestbook on port ${port}, messages in ${store.host}:${store.port}`));
for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => server.close(() => process.exit(0)));

async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
  switch (`${request.method} ${new URL(request.url ?? '/', 'http://guestbook').pathname}`) {
    case 'GET /healthz':
      return send(response, 200, 'text/plain', `${await redis(store, 'PING')}\n`);
    case 'GET /':
      return show(request, response);
    case 'POST /messages':
      return add(request, response);
    default:
      return send(response, 404, 'text/plain', 'not found\n');
  }
}

async function show(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const reply = await redis(store, 'LRANGE', 'messages', '0', String(messagesShownMax - 1));
  const messages = (Array.isArray(reply) ? reply : []).map(String);
  if (request.headers.accept?.includes('application/json')) {
    return send(response, 200, 'application/json', `${JSON.stringify({ hostname: hostname(), messages })}\n`);
  }
  const items = messages.map((message) => `<li>${escapeHtml(message)}</li>`).join('\n');
  send(response, 200, 'text/html; charset=utf-8', page(items));
}

async function add(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const body = await readBody(request);
  const isForm = request.headers['content-type']?.startsWith('application/x-www-form-urlencoded') ?? false;
  const message = (isForm ? (new URLSearchParams(body).get('message') ?? '') : body).trim();
  if (message === '') return send(response, 400, 'text/plain', 'an empty message\n');
  await redis(store, 'LPUSH', 'messages', message);
  // A browser goes back to the page, so that a reload doesn't send the message again.
  if (isForm) response.setHeader('location', '/');
  send(response, isForm ? 303 : 201, 'text/plain', 'added\n');
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > messageBytesMax) throw new Error(`a message has at most ${messageBytesMax} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function send(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, { 'content-type': type }).end(body);
}

function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
}

function page(items: string): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Guestbook</title>
<style>body { font-family: system-ui; max-width: 40rem; margin: 3rem auto } li { margin: .5rem 0 }</style>
<h1>Guestbook</h1>
<form method="post" action="/messages">
  <input name="message" required autofocus maxlength="1000" placeholder="Leave a message">
  <button>Sign</button>
</form>
<ul>
${items}
</ul>
<p><small>served by ${escapeHtml(hostname())}</small></p>
</html>
`;
}
