import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { agentLine, joinLine } from './join-line.ts';

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "berth it's a line-"));
  // Says with what it was called.
  const docker = '#!/bin/sh\nfor word; do echo "$word"; done >"$(dirname "$0")/said"\n';
  writeFileSync(join(folder, 'docker'), docker, { mode: 0o755 });
});
afterAll(() => rmSync(folder, { recursive: true }));

it('a shell runs it: the token goes to a file of its user alone, and into no argument of a process', () => {
  const stateDir = join(folder, 'state folder');
  const line = joinLine({
    token: 'BRTHTKN-1-abc-def',
    addresses: ['198.18.0.11:7402', '198.18.0.12:7402'],
    image: 'berth/host-agent:dev',
    stateDir,
  });
  expect(line).not.toContain('\n');
  execFileSync('sh', ['-c', line], { env: { PATH: `${folder}:${process.env['PATH']}` } });
  expect(readFileSync(join(stateDir, 'join'), 'utf8')).toBe('BRTHTKN-1-abc-def\n');
  expect(statSync(join(stateDir, 'join')).mode & 0o777).toBe(0o600);
  expect(statSync(stateDir).mode & 0o777).toBe(0o711);
  const said = readFileSync(join(folder, 'said'), 'utf8').trim().split('\n');
  expect(said.slice(0, 4)).toEqual(['run', '--detach', '--name', 'berth-agent']);
  expect(said.at(-1)).toBe('berth/host-agent:dev');
  expect(said).toContain('BERTH_JOIN_ADDRESS=198.18.0.11:7402,198.18.0.12:7402');
  expect(said).toContain(`BERTH_JOIN_TOKEN_FILE=${stateDir}/join`);
  expect(said.join()).not.toContain('BRTHTKN');
  expect(said.join()).not.toContain('BERTH_ADVERTISE');
});

it('names the address of a host that has several', () => {
  const options = { token: 't', addresses: ['a:1'], image: 'i', stateDir: '/var/lib/berth' };
  expect(joinLine({ ...options, advertise: '198.18.0.14' })).toContain('--env BERTH_ADVERTISE=198.18.0.14');
});

it('starts the agent of a first host, which joins nothing', () => {
  const options = { image: 'i:1', stateDir: '/var/lib/berth' };
  expect(agentLine(options)).toMatch(/^mkdir -p -m 711 \/var\/lib\/berth && docker run --detach .* i:1$/u);
  expect(agentLine(options)).not.toMatch(/JOIN|PROFILES/u);
  expect(agentLine({ ...options, ha: true })).toContain('--env BERTH_PROFILES=ha');
});
