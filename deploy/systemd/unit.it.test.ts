import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { agentRunArguments } from '@berth/workload';
import { expect, test } from 'vitest';

const file = join(import.meta.dirname, 'berth-agent.service');

test('the unit runs the agent with the arguments of the printed line, but for who restarts it', () => {
  const line = /^ExecStart=((?:.*\\\n)*.*)/mu.exec(readFileSync(file, 'utf8'))?.[1] ?? '';
  const words = line.replaceAll('\\\n', ' ').trim().split(/\s+/u);
  const printed = agentRunArguments({
    dockerHost: undefined,
    name: 'berth-agent',
    stateDir: '/var/lib/berth',
    image: 'berth/host-agent:dev',
    environment: {},
  });
  const own = ['/usr/bin/docker', 'run', '--rm', '--env-file', '/var/lib/berth/agent.env'];
  const others = ['--restart', 'always'];
  expect(words.filter((word) => !own.includes(word))).toEqual(printed.filter((word) => !others.includes(word)));
});

test.skipIf(spawnSync('systemd-analyze', ['--version']).error !== undefined)('systemd takes the unit', () => {
  expect(execFileSync('systemd-analyze', ['verify', '--man=no', file], { stdio: 'pipe' }).toString()).toBe('');
});
