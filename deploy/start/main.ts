// npm start: from a fresh clone on a fresh machine to a guestbook that answers, deployed by Berth. Safe to run again.
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { ensureEngine, NoEngineError } from '../engine/ensure.ts';
import { buildImages } from '../images/build.ts';
import { guestbookImages, productImages } from '../images/catalogue.ts';
import { run } from '../system/run.ts';
import { controlPlaneImages, ensureAgent, waitForAgent } from './agent-container.ts';
import { berth } from './cli.ts';
import { listens } from './listens.ts';
import { agentSocket, place } from './place.ts';
import { Progress } from './progress.ts';

const answerTimeoutMs = 30_000;

/** The machine is not as npm start needs it; the message says what to do. */
class StartError extends Error {}

const progress = new Progress();

try {
  await start();
} catch (error) {
  // What the user can mend is told without the place in our code.
  const expected = error instanceof StartError || error instanceof NoEngineError;
  process.stderr.write(`${expected ? error.message : error instanceof Error ? error.stack : error}\n`);
  process.exitCode = 1;
}

async function start(): Promise<void> {
  if (process.getuid?.() !== 0) throw new StartError('npm start runs an agent that programs this host: run it as root');
  await needFreePorts();
  const engine = await progress.step('Docker Engine', () => ensureEngine({ onProgress: progress.note }));
  const built = await progress.step('images', () =>
    buildImages({
      images: [...productImages, ...guestbookImages],
      onProgress: progress.note,
      ...(engine.dockerHost === undefined ? {} : { dockerHost: engine.dockerHost }),
    }),
  );
  const reference = (name: string): string =>
    built.find((image) => image.reference.startsWith(`${name}:`))?.reference ?? '';
  const agent = {
    dockerHost: engine.dockerHost ?? (await currentDockerHost()),
    name: place.agentContainer,
    stateDir: place.stateDir,
    image: reference('berth/host-agent'),
    environment: { BERTH_ADVERTISE: place.address, ...controlPlaneImages(reference) },
  };
  await progress.step('agent', async () => {
    await ensureAgent(agent);
    await waitForAgent(agent);
  });
  await progress.step('control plane', () =>
    berth(
      [
        'cluster',
        'init',
        '--socket',
        agentSocket(place.stateDir),
        '--advertise',
        place.address,
        '--context-name',
        place.context,
      ],
      {
        onLine: progress.note,
      },
    ),
  );
  await progress.step(`stack ${place.stack}`, () =>
    berth(['up', '-f', place.composeFile, '--context', place.context], { onLine: progress.note }),
  );
  await progress.step(`${place.url} answers`, waitForAnswer);
  await showSummary();
}

/** Before anything is made: later, who listens is Berth itself. */
async function needFreePorts(): Promise<void> {
  if (existsSync(place.stateDir)) return;
  const busy: number[] = [];
  for (const port of place.ports) if (await listens({ host: place.address, port })) busy.push(port);
  if (busy.length === 0) return;
  throw new StartError(
    `Another program listens on ${place.address}, port ${busy.join(', ')}, where Berth would.\n  - See which: ss -ltnp. Stop it, then npm start again`,
  );
}

/** Where the docker client finds its engine: the agent is given that socket. */
async function currentDockerHost(): Promise<string> {
  const host = (await run(['docker', 'context', 'inspect', '--format', '{{.Endpoints.docker.Host}}'])).trim();
  if (host.startsWith('unix://')) return host;
  throw new StartError(
    `the docker client speaks to ${host}, and Berth's agent must run beside its engine:\n  - run npm start on that machine, or unset DOCKER_HOST`,
  );
}

async function waitForAnswer(): Promise<void> {
  const deadline = performance.now() + answerTimeoutMs;
  for (;;) {
    const answer = await fetch(place.url).catch(() => undefined);
    if (answer?.ok) return;
    if (performance.now() > deadline)
      throw new Error(`${place.url} does not answer (${answer?.status ?? 'no connection'})`);
    await sleep(200);
  }
}

async function showSummary(): Promise<void> {
  const show = (args: readonly string[]): Promise<string> => berth([...args, '--context', place.context]);
  const nodes = await show(['node', 'ls']);
  const tasks = await show(['ps']);
  const version = (await run(['git', 'describe', '--always', '--dirty']).catch(() => '')).trim();
  process.stdout.write(`
${nodes}
${tasks}
Berth ${version} runs after ${progress.total}. The guestbook: ${place.url}

What to try next:
  npx berth ps                                        what runs where
  npx berth logs -f guestbook_web                     output of all tasks of a service
  npx berth exec guestbook_web.1 getent hosts redis   names inside the network
  npx berth plan -f your/compose.yaml                 what a file of yours would change
  npx berth up -f your/compose.yaml                   run it
  npm stop                                            remove every trace
`);
}
