import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { rpc } from '@berth/contracts';
import { createCsr, createKey } from '@berth/identity';
import type { Command } from 'commander';
import { terminalOf, withSession } from '../command.ts';
import type { Context } from '../context.ts';
import { Contexts } from '../context.ts';
import { CliError, exitCode } from '../exit-code.ts';
import { hostnames } from '../hostnames.ts';
import { dialerFor } from '../session.ts';
import { liveArea } from '../terminal/live.ts';
import { table } from '../terminal/table.ts';
import { addHostLineCommands, defaultStateDir } from './host-lines.ts';
import { brakeText } from './node.ts';
import { addRotateCaCommand } from './rotate-ca.ts';

interface InitOptions {
  readonly socket: string;
  readonly advertise: string;
  readonly pool: string;
  readonly rangePrefix: string;
  readonly blockPrefix: string;
  readonly operator: string;
  readonly contextName: string;
  readonly label: readonly string[];
}

/** Longest wait for an agent that is being started. */
const agentStartMs = 15_000;
const defaultSocket = `${defaultStateDir}/agent.sock`;
export function addClusterCommands(program: Command): void {
  const cluster = program.command('cluster').description('make and administer a cluster');
  cluster
    .command('init')
    .description("make this host's agent the first manager of a new cluster (root only)")
    .option('--socket <path>', "the agent's socket", defaultSocket)
    .option('--advertise <address>', 'address at which other hosts reach this one', '127.0.0.1')
    .option('--pool <cidr>', 'addresses of application networks', '10.64.0.0/10')
    .option('--range-prefix <bits>', "size of a network's first range", '22')
    .option('--block-prefix <bits>', "size of a node's block of a range", '26')
    .option('--operator <name>', "the first operator's name", 'admin')
    .option('--context-name <name>', 'name of the context that is written', 'default')
    .option('--label <k=v>', 'label of this node', (value, before: string[]) => [...before, value], [] as string[])
    .addHelpText(
      'after',
      '\nExamples:\n  berth cluster init --advertise 198.18.0.11\n\nAgain with the same settings it changes nothing.',
    )
    .action(init);

  cluster
    .command('operator')
    .description('get a certificate from the agent of a manager, also after one was lost (root only)')
    .option('--socket <path>', "the agent's socket", defaultSocket)
    .option('--operator <name>', "operator's name", 'admin')
    .option('--context-name <name>', 'name of the context that is written', 'default')
    .action(operator);

  addHostLineCommands(cluster);

  cluster
    .command('resume')
    .description('end the brake on mass loss: silent nodes may be declared lost, and their tasks go elsewhere')
    .addHelpText(
      'after',
      '\nExamples:\n  berth cluster resume\n\nMore than half of the nodes silent at once looks like a cut network: nothing is moved then, until they\nreturn or somebody who knows better says so. `berth node ls` shows whether the brake is on.',
    )
    .action(async (_options: object, command: Command) =>
      withSession(command, async (session, terminal) => {
        const [{ nodeIds }, hostnameOf] = await Promise.all([session.node.resume({}), hostnames(session)]);
        terminal.result({ nodeIds }, () =>
          nodeIds.length === 0
            ? 'the brake is not on: nothing to resume'
            : `resumed: ${nodeIds.map(hostnameOf).join(', ')} may be declared lost now`,
        );
      }),
    );

  addRotateCaCommand(cluster);

  cluster
    .command('status')
    .description('show members and whether they answer')
    .action(async (_options: object, command: Command) =>
      withSession(command, async ({ context, members, control, catalog }, terminal) => {
        const [{ nodes }, { brake }] = await Promise.all([control.listNodes({}), catalog.listNodes({})]);
        if (brake) terminal.note(terminal.colors.red(brakeText(brake, nodes)));
        const answer = { clusterId: context.clusterId, members, nodes, brake };
        terminal.result(answer, () =>
          [
            `cluster ${context.clusterId}: ${nodes.filter((node) => node.status === 'ready').length} of ${nodes.length} node(s) ready`,
            table(
              ['MEMBER', 'INSTANCE', 'ADDRESS', 'HOST', 'VERSION'],
              members.map((member) => [
                member.identity,
                member.instance.slice(0, 12),
                member.address,
                member.hostname,
                member.version,
              ]),
            ),
          ].join('\n'),
        );
      }),
    );
}

async function init(options: InitOptions, command: Command): Promise<void> {
  const terminal = terminalOf(command);
  const { client, close } = setupClient(options.socket);
  const key = await createKey();
  const live = liveArea(terminal);
  const lines: string[] = [];
  try {
    await awaitAgent(options.socket);
    const request = {
      advertiseAddress: options.advertise,
      networkPool: options.pool,
      rangePrefix: numberOf('--range-prefix', options.rangePrefix),
      blockPrefix: numberOf('--block-prefix', options.blockPrefix),
      operator: options.operator,
      operatorCsr: Buffer.from(await createCsr(key, `operator:${options.operator}`)),
      labels: labelsOf(options.label),
    };
    for await (const { step } of client.init(request)) {
      if (step?.$case === 'progress') {
        lines.push(step.value);
        live.show(lines);
        continue;
      }
      if (step?.$case !== 'result') continue;
      const result = step.value;
      const context: Context = {
        name: options.contextName,
        clusterId: result.clusterId,
        registries: result.registries,
      };
      new Contexts().write(context, { cert: result.certificatePem, key, ca: result.caPem });
      terminal.result({ ...result, context: context.name }, () =>
        [
          terminal.colors.green(`cluster ${result.clusterId} runs; this host is node ${result.nodeId}`),
          `context ${context.name} written: you are operator ${options.operator}`,
          'more hosts: `berth cluster token` prints the line to run there',
        ].join('\n'),
      );
      return;
    }
    throw new CliError(exitCode.internal, 'the agent ended without a result');
  } finally {
    close();
  }
}

async function operator(
  options: { socket: string; operator: string; contextName: string },
  command: Command,
): Promise<void> {
  const { client, close } = setupClient(options.socket);
  try {
    const key = await createKey();
    const csr = Buffer.from(await createCsr(key, `operator:${options.operator}`));
    const issued = await client.issueOperator({ csr, name: options.operator });
    const context: Context = { name: options.contextName, clusterId: issued.clusterId, registries: issued.registries };
    new Contexts().write(context, { cert: issued.certificatePem, key, ca: issued.caPem });
    terminalOf(command).result(
      { context: context.name, clusterId: issued.clusterId },
      (value) => `context ${value.context} written`,
    );
  } finally {
    close();
  }
}

/** An agent whose container was started a moment ago does not listen yet. */
async function awaitAgent(socket: string): Promise<void> {
  const deadline = performance.now() + agentStartMs;
  while (!(await listens(socket))) {
    if (performance.now() > deadline) {
      throw new CliError(
        exitCode.unreachable,
        `no agent listens at ${socket}`,
        'start one with `sh -c "$(berth cluster agent)"`; does it run: docker logs berth-agent',
      );
    }
    await sleep(200);
  }
}

function listens(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const connection = connect({ path });
    connection.on('connect', () => {
      connection.destroy();
      resolve(true);
    });
    connection.on('error', (error: NodeJS.ErrnoException) => {
      // Only root may: no time mends that.
      if (error.code === 'EACCES')
        reject(new CliError(exitCode.denied, `${path} is for root alone`, 'run this as root'));
      else resolve(false);
    });
  });
}

function setupClient(socket: string) {
  const dialer = dialerFor(undefined);
  const target = { identity: { role: 'local-root' as const }, addresses: () => [`unix:${socket}`] };
  return { client: dialer.client(rpc.setup, target), close: () => dialer.close() };
}

function numberOf(option: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value)) throw new CliError(exitCode.badInput, `${option} ${text} is no whole number`);
  return value;
}

function labelsOf(labels: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    labels.map((label) => {
      const split = label.indexOf('=');
      if (split < 1) throw new CliError(exitCode.badInput, `--label ${label} is not K=V`);
      return [label.slice(0, split), label.slice(split + 1)];
    }),
  );
}
