import type { IncomingMessage } from 'node:http';
import { request } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { BerthError, onAbort } from '@berth/kernel';
import type { ImageArchives, LoadedImage } from '../service/runtime-ports.ts';
import type { DockerCalls } from './docker-calls.ts';
import { call, withTag } from './docker-calls.ts';
import { translate } from './docker-errors.ts';

/** The engine's answer to a load is a line an image. */
const answerBytesMax = 1024 * 1024;

/** Images of a Docker engine as archives: bytes pass through at the slower side's pace, none are kept. */
export class DockerImages implements ImageArchives {
  readonly #calls: DockerCalls;

  constructor(calls: DockerCalls) {
    this.#calls = calls;
  }

  async load(archive: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<readonly LoadedImage[]> {
    const before = await this.#known();
    const answer = await this.#post(archive, signal);
    const loaded: LoadedImage[] = [];
    for (const { name, id } of loadedNames(answer)) {
      const found = await call('inspect a loaded image', () => this.#calls.docker.getImage(name || id).inspect());
      loaded.push({ name, id: found.Id, present: before.has(`${name} ${found.Id}`) });
    }
    return loaded;
  }

  async *save(name: string, signal: AbortSignal): AsyncIterable<Uint8Array> {
    // It becomes part of a path of the engine's API.
    if (!/^[a-zA-Z0-9][\w./:@+-]*$/u.test(name) || name.split('/').includes('..')) {
      throw new BerthError('InvalidArgument', `${JSON.stringify(name)} is not an image reference`, {
        reason: 'BAD_IMAGE_NAME',
      });
    }
    const image = this.#calls.docker.getImage(name);
    const { Id: id } = await call(`look for image ${name}`, () => image.inspect());
    // Only under its name does the archive hold its name.
    const isId = id === name || id.startsWith(`sha256:${name}`);
    const meant = this.#calls.docker.getImage(isId ? id : withTag(name));
    const stream = (await call(`save image ${name}`, () => meant.get())) as Readable;
    const stop = () => stream.destroy();
    const settled = onAbort(signal, stop);
    try {
      for await (const chunk of stream) yield chunk as Uint8Array;
    } catch (error) {
      if (!signal.aborted) throw translate(error, `save image ${name}`);
    } finally {
      settled();
      stream.destroy();
    }
  }

  /** "name id" of every image, and " id" for what is asked for by id. */
  async #known(): Promise<ReadonlySet<string>> {
    const images = await call('list images', () => this.#calls.docker.listImages());
    return new Set(images.flatMap(({ Id, RepoTags }) => [` ${Id}`, ...(RepoTags ?? []).map((tag) => `${tag} ${Id}`)]));
  }

  /** By a request of our own: an archive that fails must break the request off, or the engine would wait for more. */
  async #post(archive: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<string> {
    const post = request({
      socketPath: this.#calls.socketPath,
      method: 'POST',
      path: '/images/load?quiet=1',
      headers: { 'content-type': 'application/x-tar' },
      signal,
    });
    const answered = new Promise<IncomingMessage>((resolve, reject) => {
      post.once('response', resolve);
      post.once('error', reject);
    });
    // The engine may answer before it has read all: what it says counts, not that the rest could not be sent.
    let sendError: unknown;
    const sending = pipeline(Readable.from(archive, { objectMode: false }), post).catch((error: unknown) => {
      sendError = error;
    });
    try {
      const response = await answered;
      const text = await readText(response);
      if (sendError instanceof BerthError) throw sendError;
      if (response.statusCode !== 200) throw unreadable(messageOf(text));
      return text;
    } catch (error) {
      throw sendError instanceof BerthError ? sendError : translate(error, 'load images');
    } finally {
      post.destroy();
      await sending;
    }
  }
}

async function readText(stream: Readable): Promise<string> {
  let text = '';
  for await (const chunk of stream) {
    text += String(chunk);
    if (text.length > answerBytesMax) break;
  }
  return text;
}

/** Names and ids out of the engine's progress; InvalidArgument if it says that the archive is no good. */
export function loadedNames(answer: string): { readonly name: string; readonly id: string }[] {
  const found: { name: string; id: string }[] = [];
  for (const line of answer.split('\n')) {
    if (line.trim() === '') continue;
    const { stream, error } = JSON.parse(line) as { stream?: string; error?: string };
    if (error !== undefined) throw unreadable(error);
    const match = /^Loaded image(?<id> ID)?: (?<what>\S+)/u.exec(stream ?? '');
    const what = match?.groups?.['what'];
    if (what === undefined) continue;
    found.push(match?.groups?.['id'] === undefined ? { name: what, id: '' } : { name: '', id: what });
  }
  if (found.length === 0) throw unreadable('there is no image in it');
  return found;
}

function unreadable(message: string): BerthError {
  return new BerthError('InvalidArgument', `the engine cannot load this archive: ${message}`, {
    reason: 'BAD_ARCHIVE',
  });
}

function messageOf(text: string): string {
  try {
    return (JSON.parse(text) as { message?: string }).message ?? text;
  } catch {
    return text;
  }
}
