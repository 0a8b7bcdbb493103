import type { LoadImageRequest as AgentLoadRequest, LoadedImage } from '@berth/contracts/agent';
import type { Node } from '@berth/contracts/registry';
import type {
  LoadImageRequest,
  LoadImageResponse,
  SaveImageRequest,
  SaveImageResponse,
} from '@berth/contracts/scheduler';
import type { Clock } from '@berth/kernel';
import { AsyncQueue, BerthError, isBerthError } from '@berth/kernel';
import type { Agents } from './agents.ts';
import { Channel } from './channel.ts';

/** Pieces that the slowest node may be behind the fastest; with `pieceBytesMax` this bounds a transfer's memory. */
const piecesMax = 16;
const pieceBytesMax = 1024 * 1024;
/** Transfers that this replica passes on at a time. */
const transfersMax = 8;
/** A node that takes nothing for so long is given up, so that the others go on. */
const stallMs = 60_000;
/** How often a node's progress is told. */
const progressIntervalMs = 500;

interface NodeLoad {
  readonly node: Node;
  readonly pieces: Channel<Buffer>;
  /** Ends the call, whatever it waits for. */
  readonly abort: AbortController;
  /** Why we ended it; empty if we did not. */
  givenUp: string;
  bytes: number;
  over: boolean;
}

/** Passes archives of images on between a client and agents, at the pace of the slower side. */
export class ImageTransfer {
  readonly #clock: Clock;
  readonly #agents: Agents;
  #transfers = 0;

  constructor(options: { readonly clock: Clock; readonly agents: Agents }) {
    this.#clock = options.clock;
    this.#agents = options.agents;
  }

  /** One archive to many nodes at once. Ends when each has said what became of it. */
  async *load(
    requests: AsyncIterable<LoadImageRequest>,
    caller: string,
    signal: AbortSignal,
  ): AsyncGenerator<LoadImageResponse> {
    const source = requests[Symbol.asyncIterator]();
    const first = await source.next();
    if (first.done || first.value.step?.$case !== 'start') {
      throw new BerthError('InvalidArgument', 'the first message must say where to', { reason: 'NO_START' });
    }
    const nodes = this.#targets(first.value.step.value.nodes);
    this.#begin();
    const loads = nodes.map(
      (node): NodeLoad => ({
        node,
        pieces: new Channel<Buffer>(piecesMax),
        abort: new AbortController(),
        givenUp: '',
        bytes: 0,
        over: false,
      }),
    );
    const answers = new AsyncQueue<LoadImageResponse>();
    try {
      const ends = loads.map((load) =>
        this.#toNode(load, caller, AbortSignal.any([signal, load.abort.signal]), answers),
      );
      const distributing = this.#distribute(source, loads).catch((error: unknown) => {
        for (const load of loads) giveUp(load, 'the transfer was cut off');
        throw error;
      });
      const all = Promise.all([distributing, ...ends]).finally(() => answers.close());
      all.catch(() => undefined);
      yield* answers;
      await all;
    } finally {
      this.#transfers -= 1;
      for (const { abort } of loads) abort.abort();
    }
  }

  /** From the named node, else from the first ready one that has the image. */
  async *save(
    { name, node: wanted }: SaveImageRequest,
    caller: string,
    signal: AbortSignal,
  ): AsyncGenerator<SaveImageResponse> {
    const nodes = this.#targets(wanted === '' ? [] : [wanted]);
    this.#begin();
    try {
      const misses: string[] = [];
      for (const node of nodes) {
        let begun = false;
        try {
          for await (const { chunk } of this.#agents.ofNode(node).saveImage({ name, caller }, { signal })) {
            yield { chunk, hostname: begun ? '' : node.hostname };
            begun = true;
          }
          return;
        } catch (error) {
          if (begun || !isBerthError(error) || error.code === 'InvalidArgument' || signal.aborted) throw error;
          misses.push(error.code === 'NotFound' ? `${node.hostname}: not there` : `${node.hostname}: ${error.message}`);
        }
      }
      throw new BerthError('NotFound', `image ${name} is on none of the nodes asked (${misses.join('; ')})`, {
        reason: 'NO_SUCH_IMAGE',
      });
    } finally {
      this.#transfers -= 1;
    }
  }

  #targets(names: readonly string[]): Node[] {
    const nodes = names.length === 0 ? this.#agents.readyNodes() : names.map((name) => this.#agents.node(name));
    if (nodes.length === 0) {
      throw new BerthError('FailedPrecondition', 'no node is ready', { reason: 'NO_READY_NODE' });
    }
    return [...new Map(nodes.map((node) => [node.id, node])).values()];
  }

  #begin(): void {
    if (this.#transfers >= transfersMax) {
      throw new BerthError('Exhausted', `${transfersMax} images are on their way already; try again later`, {
        reason: 'TOO_MANY_TRANSFERS',
      });
    }
    this.#transfers += 1;
  }

  /** Hands each piece to every node; waits for the slowest that still goes on. */
  async #distribute(source: AsyncIterator<LoadImageRequest>, loads: readonly NodeLoad[]): Promise<void> {
    for (;;) {
      const { done, value } = await source.next();
      if (done) throw new BerthError('Cancelled', 'the transfer was cut off', { reason: 'CUT_OFF' });
      const { step } = value;
      if (step?.$case === 'end') break;
      if (step?.$case !== 'chunk' || step.value.length > pieceBytesMax) {
        throw new BerthError('InvalidArgument', `a piece has at most ${pieceBytesMax} bytes`, { reason: 'BAD_PIECE' });
      }
      const piece = step.value;
      await Promise.all(loads.filter(({ over }) => !over).map((load) => this.#hand(load, piece)));
      if (loads.every(({ over }) => over)) return;
    }
    for (const { pieces } of loads) pieces.end();
  }

  async #hand(load: NodeLoad, piece: Buffer): Promise<void> {
    const cancel = this.#clock.timer(stallMs, () => giveUp(load, `it took nothing for ${stallMs / 1000} s`));
    await load.pieces.push(piece);
    cancel();
  }

  async #toNode(
    load: NodeLoad,
    caller: string,
    signal: AbortSignal,
    answers: AsyncQueue<LoadImageResponse>,
  ): Promise<void> {
    const { node, pieces } = load;
    const clock = this.#clock;
    const answer = (outcome: LoadImageResponse['outcome']) =>
      answers.push({ nodeId: node.id, hostname: node.hostname, bytes: load.bytes, outcome });
    async function* steps(): AsyncGenerator<AgentLoadRequest> {
      yield { step: { $case: 'start', value: { caller } } };
      let toldMs = clock.monotonic();
      for await (const piece of pieces.read(signal)) {
        yield { step: { $case: 'chunk', value: piece } };
        load.bytes += piece.length;
        if (clock.monotonic() - toldMs < progressIntervalMs) continue;
        toldMs = clock.monotonic();
        answer(undefined);
      }
      if (!signal.aborted) yield { step: { $case: 'end', value: true } };
    }
    try {
      let images: LoadedImage[] | undefined;
      for await (const response of this.#agents.ofNode(node).loadImage(steps(), { signal })) images = response.images;
      if (images === undefined) throw new BerthError('Unavailable', 'its agent ended without an answer');
      answer({ $case: 'loaded', value: { images } });
    } catch (error) {
      if (!isBerthError(error)) throw error;
      answer({ $case: 'failed', value: load.givenUp || error.message });
    } finally {
      load.over = true;
      pieces.end();
    }
  }
}

function giveUp(load: NodeLoad, why: string): void {
  load.givenUp ||= why;
  load.abort.abort();
  load.pieces.end();
}
