import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { addressList, ConfigError, envName, flag, flagName, helpText, list, parseConfig, urlList } from './config.ts';

const schema = z.object({
  grpcPort: z.coerce.number().int().min(1).max(65_535).default(7401).describe('Port of the API.'),
  etcdEndpoints: list().describe('Where etcd is.'),
  verbose: flag().default(false).describe('Says more.'),
  logLevel: z.enum(['debug', 'info']).default('info').describe('Least severe lines.'),
});
const parse = (argv: string[], env: Record<string, string> = {}) =>
  parseConfig({ name: 'berth-test', schema, argv, env: { BERTH_ETCD_ENDPOINTS: 'https://a', ...env } });
const problems = (argv: string[], env: Record<string, string | undefined> = {}): readonly string[] => {
  try {
    parseConfig({ name: 'berth-test', schema, argv, env });
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  throw new Error('it was accepted');
};

describe('a setting', () => {
  it('has one name as key, flag and variable', () => {
    expect([flagName('grpcPort'), envName('grpcPort')]).toEqual(['--grpc-port', 'BERTH_GRPC_PORT']);
    expect([flagName('tokenSha256'), envName('tokenSha256')]).toEqual(['--token-sha256', 'BERTH_TOKEN_SHA256']);
  });

  it('comes from its flag, else its variable, else its default', () => {
    expect(parse([]).grpcPort).toBe(7401);
    expect(parse([], { BERTH_GRPC_PORT: '5' }).grpcPort).toBe(5);
    expect(parse(['--grpc-port', '6'], { BERTH_GRPC_PORT: '5' }).grpcPort).toBe(6);
    expect(parse(['--grpc-port=6']).grpcPort).toBe(6);
  });

  it('counts as unset when its variable is empty, as Compose leaves it', () => {
    expect(parse([], { BERTH_GRPC_PORT: '' }).grpcPort).toBe(7401);
  });

  it('may be a list or a switch', () => {
    expect(parse(['--etcd-endpoints', 'https://a, https://b,']).etcdEndpoints).toEqual(['https://a', 'https://b']);
    expect(parse(['--verbose']).verbose).toBe(true);
    expect(parse(['--verbose', '--grpc-port', '6'])).toMatchObject({ verbose: true, grpcPort: 6 });
    expect(parse(['--verbose', 'false']).verbose).toBe(false);
    expect(parse([], { BERTH_VERBOSE: 'true' }).verbose).toBe(true);
  });
});

describe('where others are', () => {
  const where = z.object({ registries: addressList().default(['127.0.0.1:7401']), nats: urlList('tls') });
  const read = (env: Record<string, string | undefined>) =>
    parseConfig({ name: 'berth-test', schema: where, argv: [], env });

  it('is host:port, or a URL with a port', () => {
    const env = { BERTH_REGISTRIES: 'a.example:1,[fd00::1]:2', BERTH_NATS: 'tls://198.18.0.1:7451, tls://[fd00::1]:1' };
    expect(read(env)).toEqual({
      registries: ['a.example:1', '[fd00::1]:2'],
      nats: ['tls://198.18.0.1:7451', 'tls://[fd00::1]:1'],
    });
    expect(read({ BERTH_NATS: 'tls://a:1' }).registries).toEqual(['127.0.0.1:7401']);
  });

  it.each([
    { BERTH_REGISTRIES: 'a.example' },
    { BERTH_REGISTRIES: 'a:1,b:port' },
    { BERTH_REGISTRIES: 'a:70000' },
    { BERTH_REGISTRIES: ' , ' },
    { BERTH_REGISTRIES: 'https://a:1' },
    { BERTH_NATS: 'a:1' },
    { BERTH_NATS: 'nats://a:1' },
    { BERTH_NATS: 'tls://a' },
    { BERTH_NATS: 'tls://a:1/path' },
    { BERTH_NATS: ',' },
  ])('is refused by its name: %j', (env) => {
    const name = Object.keys(env)[0] ?? '';
    expect(() => read({ BERTH_NATS: 'tls://a:1', ...env })).toThrow(new RegExp(`\\(${name}\\) ".*" is no good`, 'u'));
  });
});

describe('a bad configuration', () => {
  it('names every bad key by flag and variable, with the value', () => {
    expect(problems(['--grpc-port', '70000'], { BERTH_LOG_LEVEL: 'loud' })).toEqual([
      expect.stringMatching(/^--grpc-port \(BERTH_GRPC_PORT\) "70000" is no good: /u),
      '--etcd-endpoints (BERTH_ETCD_ENDPOINTS) is missing',
      expect.stringMatching(/^--log-level \(BERTH_LOG_LEVEL\) "loud" is no good: /u),
    ]);
  });

  it('names what is no setting at all', () => {
    const env = { BERTH_ETCD_ENDPOINTS: 'https://a' };
    expect(problems(['--grcp-port', '5'], env)).toEqual(['--grcp-port is no setting']);
    expect(problems(['start'], env)).toEqual(['"start" is no setting']);
    expect(problems(['--verbose', 'maybe'], env)).toEqual([
      expect.stringContaining('--verbose (BERTH_VERBOSE) "maybe"'),
    ]);
  });
});

describe('--help', () => {
  it('shows each setting with variable, meaning and default', () => {
    const text = helpText({ name: 'berth-test', description: 'Tests.', schema });
    expect(text).toContain('Usage: berth-test [settings]');
    expect(text).toContain('  --grpc-port VALUE, BERTH_GRPC_PORT\n      Port of the API. [default 7401]\n');
    expect(text).toContain('  --etcd-endpoints VALUE, BERTH_ETCD_ENDPOINTS\n      Where etcd is.\n');
    expect(text).toContain('Says more. [default false]');
  });
});
