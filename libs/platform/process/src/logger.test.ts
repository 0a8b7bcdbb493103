import { Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { createLogger } from './logger.ts';

function capture(level?: 'debug' | 'warn') {
  const lines: Record<string, unknown>[] = [];
  const destination = new Writable({
    write(chunk, _encoding, done) {
      lines.push(JSON.parse(String(chunk)));
      done();
    },
  });
  return {
    lines,
    logger: createLogger({ component: 'scheduler', fields: { cluster: 'c1' }, destination, ...(level && { level }) }),
  };
}

describe('a logger', () => {
  it('writes JSON lines with component, ids, level, time and message', () => {
    const { lines, logger } = capture();
    logger.child({ node: 'n1' }).info({ task: 't1' }, 'placed');
    expect(lines).toEqual([
      {
        level: 'info',
        time: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/u),
        component: 'scheduler',
        cluster: 'c1',
        node: 'n1',
        task: 't1',
        msg: 'placed',
      },
    ]);
  });

  it('writes nothing below its level', () => {
    const { lines, logger } = capture('warn');
    logger.info({}, 'quiet');
    logger.warn({}, 'loud');
    expect(lines.map(({ msg }) => msg)).toEqual(['loud']);
  });

  it('writes no secret, at the top or one level down', () => {
    const { lines, logger } = capture();
    const secrets = {
      token: 's3cr3t',
      joinToken: 's3cr3t',
      privateKey: 's3cr3t',
      tls: { key: 's3cr3t' },
      environment: { A: 's3cr3t' },
      password: 's3cr3t',
    };
    logger.error({ ...secrets, request: secrets }, 'failed');
    logger.info({ key: 'registry/node/n1' }, 'written');
    expect(JSON.stringify(lines)).not.toContain('s3cr3t');
    expect(lines.at(-1)?.['key']).toBe('registry/node/n1');
  });

  it('writes an error with its stack and cause', () => {
    const { lines, logger } = capture();
    logger.error({ error: new Error('outer', { cause: new Error('inner') }) }, 'failed');
    expect(lines[0]?.['error']).toMatchObject({ type: 'Error', message: expect.stringContaining('outer') });
    expect(JSON.stringify(lines[0])).toContain('inner');
  });
});
