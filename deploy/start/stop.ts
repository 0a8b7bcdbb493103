// npm stop: removes every trace of npm start and touches nothing else. Safe to run again, also after a failed start.
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { defaultPlace, readRecord } from '../engine/record.ts';
import { stopEngine } from '../engine/stop.ts';
import { removeImages } from '../images/build.ts';
import { run, tryRun } from '../system/run.ts';
import { dockerCommand } from './agent-container.ts';
import { berth } from './cli.ts';
import { place } from './place.ts';
import { Progress } from './progress.ts';

const progress = new Progress();
const engine = readRecord(defaultPlace);
const docker = dockerCommand(engine?.dockerHost);
const clusterId = readClusterId();

if (engine) {
  // With the engine goes all that it runs and holds.
  await progress.step('the Docker Engine that npm start started', () => stopEngine({ onProgress: progress.note }));
} else if (await engineAnswers()) {
  await progress.step('containers, networks, volumes', removeFromEngine);
  await progress.step('images', () => removeImages());
} else {
  progress.note('no Docker Engine answers: what it may hold of Berth stays');
}
await progress.step('rules', removeRules);
await progress.step('state and context', async () => {
  rmSync(place.stateDir, { recursive: true, force: true });
  const contexts = JSON.parse(await berth(['context', 'ls', '--output', 'json'])) as { name: string }[];
  if (contexts.some(({ name }) => name === place.context)) await berth(['context', 'rm', place.context]);
});
process.stdout.write(`Berth is gone after ${progress.total}\n`);

/** Every label of ours carries the cluster's id: other clusters on this engine are not touched. */
async function removeFromEngine(): Promise<void> {
  // The agent first, or it would start again what is removed.
  await tryRun([...docker, 'rm', '--force', place.agentContainer]);
  if (clusterId === undefined) return;
  const ours = ['--filter', `label=berth.cluster=${clusterId}`];
  await removeEach(['ps', '--all', '--quiet', '--no-trunc', ...ours], ['rm', '--force', '--volumes']);
  await removeEach(['network', 'ls', '--quiet', ...ours], ['network', 'rm']);
  await removeEach(['volume', 'ls', '--quiet', ...ours], ['volume', 'rm', '--force']);
}

async function removeEach(list: readonly string[], remove: readonly string[]): Promise<void> {
  const found = (await run([...docker, ...list])).split('\n').filter(Boolean);
  if (found.length > 0) await run([...docker, ...remove, ...found]);
}

async function removeRules(): Promise<void> {
  if (clusterId === undefined) return;
  await tryRun(['nft', 'delete', 'table', 'inet', `berth-${clusterId.slice(0, 8)}`]);
  const { code, stdout } = await tryRun(['iptables', '-w', '-S', 'DOCKER-USER']);
  if (code !== 0) return;
  for (const rule of stdout.split('\n').filter((line) => line.includes(`"berth ${clusterId}"`))) {
    // As iptables prints it after `-A DOCKER-USER`: words, those with a blank in quotes.
    const words = [...rule.matchAll(/"([^"]*)"|(\S+)/gu)].map(([, quoted, plain]) => quoted ?? plain ?? '');
    await run(['iptables', '-w', '-D', 'DOCKER-USER', ...words.slice(2)]);
  }
}

async function engineAnswers(): Promise<boolean> {
  return (await tryRun(['timeout', '10', ...docker, 'version'])).code === 0;
}

/** As the agent wrote it down; undefined when there never was a cluster. */
function readClusterId(): string | undefined {
  const file = `${place.stateDir}/cluster.json`;
  if (!existsSync(file)) return undefined;
  return (JSON.parse(readFileSync(file, 'utf8')) as { clusterId?: string }).clusterId;
}
