import { execFileSync } from 'node:child_process';
import { expect, it } from 'vitest';
import type { Live } from './completion.ts';
import { complete } from './completion.ts';
import { completionScript } from './completion-scripts.ts';
import { buildProgram } from './program.ts';

const asked: Live[][] = [];
const ask = async (kinds: readonly Live[]) => {
  asked.push([...kinds]);
  return kinds.flatMap((kind) => [1, 2, 10].map((number) => ({ value: `${kind}-${number}`, description: kind })));
};
async function of(line: string): Promise<string[]> {
  const words = line.split(' ');
  const answer = await complete(buildProgram(), words.slice(0, -1), words.at(-1) ?? '', ask);
  return answer.kind === 'files' ? [':files'] : answer.words.map(({ value }) => value);
}

it.each([
  ['no', ['node']],
  ['node ', ['activate', 'drain', 'inspect', 'label', 'ls', 'pause', 'rm']],
  ['node d', ['drain']],
  ['node drain ', ['node-1', 'node-2', 'node-10']],
  ['node drain --timeout 5m node-1', ['node-1', 'node-10']],
  ['node drain node-1 ', []],
  ['node drain --t', ['--timeout']],
  ['nothing ', []],
  ['exec task-1', ['task-1', 'task-10']],
  ['exec task-1 ', []],
  ['exec task-1 -', []],
  ['exec -it ta', ['task-1', 'task-2', 'task-10']],
  ['logs -f --tail ', []],
  ['logs -f st', ['stack-1', 'stack-2', 'stack-10']],
  ['inspect --type ', ['network', 'node', 'service', 'stack', 'task']],
  ['image load --node ', ['node-1', 'node-2', 'node-10']],
  ['image load --input ', [':files']],
  ['up -f ', [':files']],
  ['--context ', ['context-1', 'context-2', 'context-10']],
  ['ps --output ', ['json', 'table']],
  ['ps --output=', []],
  ['ps -- ', ['stack-1', 'stack-2', 'stack-10']],
  ['completion ', ['bash', 'fish', 'zsh']],
  ['__', []],
])('%j', async (line, words) => expect(await of(line)).toEqual(words));

it('offers every command that help shows', async () => {
  const names = buildProgram()
    .commands.map((command) => command.name())
    .filter((name) => !name.startsWith('__'));
  expect((await of('')).sort()).toEqual(names.sort());
});

it('the bash script is one, and completes', () => {
  const answer = `printf 'node-1\\tnode, ready\\nnode-2\\tnode, ready\\n'`;
  const line = `berth() { echo "$@" >&2; ${answer}; }; ${completionScript('bash')}
    COMP_WORDS=(berth node drain no); COMP_CWORD=3; _berth 2>&1; echo "\${COMPREPLY[@]}"`;
  expect(execFileSync('bash', ['-c', line], { encoding: 'utf8' })).toBe('node-1 node-2\n');
});
