import { connect } from 'node:net';

/** What Redis answers: text, a number, a list of answers, or nothing. */
export type Reply = string | number | undefined | Reply[];

const timeoutMs = 2_000;

/**
 * Sends one command over a connection of its own and returns the answer. The host's name is looked up each time, so
 * that a Redis that moved is found at once.
 */
export function redis(address: { host: string; port: number }, ...command: string[]): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const socket = connect(address, () => socket.write(encodeCommand(command)));
    let received = Buffer.alloc(0);
    const fail = (error: Error): void => {
      socket.destroy();
      reject(error);
    };
    socket.setTimeout(timeoutMs, () => fail(new Error(`redis did not answer within ${timeoutMs} ms`)));
    socket.on('error', fail);
    socket.on('close', () => reject(new Error('redis closed the connection')));
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk]);
      try {
        const parsed = parseReply(received);
        if (parsed === undefined) return;
        resolve(parsed.reply);
        socket.destroy();
      } catch (error) {
        fail(error as Error);
      }
    });
  });
}

export function encodeCommand(command: readonly string[]): string {
  const parts = command.map((part) => `$${Buffer.byteLength(part)}\r\n${part}\r\n`);
  return `*${command.length}\r\n${parts.join('')}`;
}

/** The reply at `start` and where it ends; undefined while it has not wholly arrived. Throws what Redis calls an error. */
export function parseReply(data: Buffer, start = 0): { reply: Reply; end: number } | undefined {
  const lineEnd = data.indexOf('\r\n', start);
  if (lineEnd < 0) return undefined;
  const line = data.toString('utf8', start + 1, lineEnd);
  const end = lineEnd + 2;
  switch (String.fromCharCode(data[start] ?? 0)) {
    case '+':
      return { reply: line, end };
    case ':':
      return { reply: Number(line), end };
    case '$':
      return parseText(data, Number(line), end);
    case '*':
      return parseList(data, Number(line), end);
    default:
      throw new Error(`redis: ${line}`);
  }
}

function parseText(data: Buffer, length: number, start: number): { reply: Reply; end: number } | undefined {
  if (length < 0) return { reply: undefined, end: start };
  const end = start + length + 2;
  return data.length < end ? undefined : { reply: data.toString('utf8', start, end - 2), end };
}

function parseList(data: Buffer, length: number, start: number): { reply: Reply; end: number } | undefined {
  const reply: Reply[] = [];
  let end = start;
  while (reply.length < length) {
    const item = parseReply(data, end);
    if (item === undefined) return undefined;
    reply.push(item.reply);
    end = item.end;
  }
  return { reply, end };
}
