import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { endProcess, identify, isRunning, processesWith } from './process.ts';

test('a process is found by program and argument, ended, and known to be gone', async () => {
  const child = spawn('sleep', ['61.5']);
  await once(child, 'spawn');
  const identity = identify(child.pid ?? 0);
  if (!identity) throw new Error('no process');
  expect(processesWith(/^sleep$/, '61.')).toContainEqual(identity);
  expect(processesWith(/^sleep$/, '62')).not.toContainEqual(identity);
  expect(processesWith(/^dockerd$/, '61.')).toEqual([]);
  await endProcess(identity, 2_000);
  expect(isRunning(identity)).toBe(false);
});

test('a process that ignores the signal is killed', async () => {
  const child = spawn('sh', ['-c', 'trap "" TERM; echo ready; while :; do sleep 0.05; done'], { stdio: 'pipe' });
  await once(child.stdout, 'data');
  const identity = identify(child.pid ?? 0);
  if (!identity) throw new Error('no process');
  await endProcess(identity, 200);
  expect(isRunning(identity)).toBe(false);
});

test('a pid with another start is another process', () => {
  const self = identify(process.pid);
  expect(self && isRunning(self)).toBe(true);
  expect(isRunning({ pid: process.pid, startTime: '1' })).toBe(false);
});
