import { createReadStream, createWriteStream } from 'node:fs';
import { open } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import type { LoadedImage } from '@berth/contracts/agent';
import type { LoadImageRequest, LoadImageResponse } from '@berth/contracts/scheduler';
import type { Command } from 'commander';
import { withSession } from '../command.ts';
import { CliError, exitCode } from '../exit-code.ts';
import type { Session } from '../session.ts';
import { liveArea } from '../terminal/live.ts';
import type { Terminal } from '../terminal/output.ts';
import { pieces, writeAll } from '../terminal/pipe.ts';
import { bytesText } from '../terminal/table.ts';

/** What is sent at a time. */
const pieceBytes = 256 * 1024;

interface LoadOptions {
  readonly input?: string;
  readonly node: readonly string[];
}

interface SaveOptions {
  readonly destination?: string;
  readonly node: string;
}

export function addImageCommands(program: Command): void {
  const image = program.command('image').description('images of nodes, for hosts without a registry');
  image
    .command('load')
    .description('bring an image, as `docker save` writes it, to nodes')
    .option('-i, --input <file>', 'read it from a file instead of standard input')
    .option(
      '--node <node>',
      'only to this node (host name or id); may be given again (default: all ready nodes)',
      (value, before: string[]) => [...before, value],
      [] as string[],
    )
    .addHelpText(
      'after',
      '\nExamples:\n  docker save web:1 | berth image load\n  berth image load -i web.tar --node host-2 --node host-3\n\nExit codes: 0 on all of them, 3 not on all: the nodes that failed are named',
    )
    .action(async (options: LoadOptions, command: Command) =>
      withSession(command, async (session, terminal) => load(session, terminal, options, await source(options))),
    );

  image
    .command('save')
    .description('write an image of a node to standard output, as `docker save` does')
    .argument('<name>', 'name with tag, or id')
    .option('--destination <file>', 'write it to a file instead of standard output')
    .option('--node <node>', 'from this node (default: the first ready one that has it)', '')
    .addHelpText(
      'after',
      '\nExamples:\n  berth image save web:1 > web.tar\n  berth image save web:1 --node host-2 | docker load',
    )
    .action(async (name: string, options: SaveOptions, command: Command) =>
      withSession(command, (session, terminal) => save(session, terminal, name, options)),
    );
}

async function source({ input }: LoadOptions): Promise<Readable> {
  if (input === undefined || input === '-') {
    if (!process.stdin.isTTY) return process.stdin;
    throw new CliError(
      exitCode.badInput,
      'standard input is a terminal, not an archive',
      'write `docker save NAME | berth image load`, or name a file with -i',
    );
  }
  try {
    await (await open(input)).close();
  } catch (cause) {
    throw unreadable(input, cause);
  }
  return createReadStream(input);
}

function unreadable(path: string, cause: unknown): CliError {
  return new CliError(exitCode.badInput, `cannot read ${path}: ${(cause as Error).message}`, 'check the path', {
    cause,
  });
}

async function load(session: Session, terminal: Terminal, options: LoadOptions, archive: Readable): Promise<void> {
  const live = liveArea(terminal);
  const last = new Map<string, LoadImageResponse>();
  // A pipe that brought nothing: its left side failed, and said so already.
  let bytes = 0;
  async function* steps(): AsyncGenerator<LoadImageRequest> {
    yield { step: { $case: 'start', value: { nodes: [...options.node] } } };
    for await (const piece of pieces(archive, pieceBytes)) {
      bytes += piece.length;
      yield { step: { $case: 'chunk', value: piece } };
    }
    if (bytes > 0) yield { step: { $case: 'end', value: true } };
  }
  try {
    for await (const response of session.control.loadImage(steps())) {
      // A node that fails may say so before the archive begins.
      last.set(response.nodeId, response);
      if (bytes === 0) continue;
      live.show([...last.values()].sort(byHostname).map((each) => `  ${progressText(each, terminal)}`));
    }
  } catch (error) {
    if (bytes === 0 && archive.readableEnded) throw noArchive();
    throw error;
  } finally {
    archive.destroy();
  }
  if (bytes === 0) throw noArchive();
  const answers = [...last.values()].sort(byHostname);
  const failed = answers.filter(({ outcome }) => outcome?.$case !== 'loaded');
  const shown = answers.map(({ nodeId, hostname, outcome }) => ({
    nodeId,
    hostname,
    images: outcome?.$case === 'loaded' ? outcome.value.images : [],
    error: outcome?.$case === 'failed' ? outcome.value : undefined,
  }));
  terminal.result(shown, () => {
    const images = answers.flatMap(({ outcome }) => (outcome?.$case === 'loaded' ? outcome.value.images : []));
    const names = [...new Set(images.map(nameOf))].join(', ') || 'the image';
    return `${names}: on ${answers.length - failed.length} of ${answers.length} node(s)`;
  });
  if (failed.length === 0) return;
  throw new CliError(
    exitCode.notConverged,
    failed
      .map(({ hostname, outcome }) => `node ${hostname}: ${outcome?.$case === 'failed' ? outcome.value : 'no answer'}`)
      .join('\n'),
    'what was loaded stays; load it again with --node for those that failed',
  );
}

function progressText({ hostname, bytes, outcome }: LoadImageResponse, { colors }: Terminal): string {
  const head = hostname.padEnd(20);
  if (outcome?.$case === 'failed') return `${head} ${colors.red(`failed: ${outcome.value}`)}`;
  if (outcome?.$case !== 'loaded') return `${head} ${bytesText(bytes)} sent`;
  const { images } = outcome.value;
  return `${head} ${images.map((image) => `${nameOf(image)} ${image.present ? colors.dim('was there already') : colors.green('loaded')}`).join(', ')}`;
}

function nameOf({ name, id }: LoadedImage): string {
  return name || id.slice(0, 19);
}

function byHostname(a: LoadImageResponse, b: LoadImageResponse): number {
  return a.hostname.localeCompare(b.hostname, undefined, { numeric: true });
}

function noArchive(): CliError {
  return new CliError(
    exitCode.badInput,
    'there was no archive on standard input',
    'see what the command before the pipe said',
  );
}

async function save(session: Session, terminal: Terminal, name: string, options: SaveOptions): Promise<void> {
  if (options.destination === undefined && process.stdout.isTTY) {
    throw new CliError(
      exitCode.badInput,
      'an archive is no text for a terminal',
      'redirect it (`> web.tar`), pipe it, or name a file with --destination',
    );
  }
  // Nothing is created for an image that is not there.
  let stream: NodeJS.WritableStream | undefined;
  let bytes = 0;
  let from = '';
  for await (const { chunk, hostname } of session.control.saveImage({ name, node: options.node })) {
    stream ??= options.destination === undefined ? process.stdout : createWriteStream(options.destination);
    from ||= hostname;
    bytes += chunk.length;
    await writeAll(stream as NodeJS.WriteStream, chunk);
  }
  if (options.destination !== undefined) await new Promise<void>((resolve) => stream?.end(resolve));
  terminal.note(`${name} from ${from}: ${bytesText(bytes)}`);
}
