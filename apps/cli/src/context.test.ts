import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Contexts, readContext, writeContext } from './context.ts';

const credentials = { cert: 'cert', key: 'key', ca: 'ca' };
let folder: string;
let contexts: Contexts;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'berth-contexts-'));
  contexts = new Contexts({ BERTH_CONFIG_DIR: join(folder, 'berth') });
});
afterEach(() => rmSync(folder, { recursive: true }));

const add = (name: string) => contexts.write({ name, clusterId: `id-of-${name}`, registries: [] }, credentials);

test('a new context is the current one, and gives way to the one before it when it is removed', () => {
  add('work');
  add('local');
  // Written again, as by a second `cluster init`.
  add('local');
  expect(contexts.current()).toBe('local');
  contexts.remove('local');
  expect(contexts.current()).toBe('work');
  expect(contexts.list()).toEqual(['work']);
});

test('one that is added beside the current one changes nothing else; a renewed certificate keeps its key', () => {
  add('work');
  contexts.add({ name: 'reader-ci', clusterId: 'c', registries: ['a:1'] }, credentials);
  expect(contexts.current()).toBe('work');
  expect(contexts.read('reader-ci')).toEqual({ name: 'reader-ci', clusterId: 'c', registries: ['a:1'] });
  contexts.renew('reader-ci', { cert: 'new', ca: 'newer' });
  expect(contexts.credentials('reader-ci')).toEqual({ cert: 'new', key: 'key', ca: 'newer' });
});

test('a context is carried in a folder; a folder that holds none says what is missing', () => {
  const carried = join(folder, 'carried');
  const context = { name: 'reader-ci', clusterId: 'c', registries: ['a:1'] };
  writeContext(carried, context, credentials);
  expect(readContext(carried)).toEqual({ context, credentials });
  expect(() => readContext(folder)).toThrow(/no context\.json/u);
});

test('removing one that is not current changes nothing else', () => {
  add('local');
  add('work');
  contexts.remove('local');
  expect(contexts.current()).toBe('work');
  contexts.remove('work');
  expect(contexts.current()).toBe(undefined);
});

test('the last context leaves nothing on disk', () => {
  add('local');
  contexts.remove('local');
  expect(readdirSync(folder)).toEqual([]);
});

test('the key is for its owner alone, whatever stood there before', () => {
  add('local');
  const key = join(folder, 'berth/contexts/local/key.pem');
  const mode = () => (statSync(key).mode & 0o777).toString(8);
  expect(mode()).toBe('600');
  chmodSync(key, 0o644);
  add('local');
  expect(mode()).toBe('600');
  expect(readdirSync(join(folder, 'berth/contexts/local')).sort()).toEqual([
    'ca.pem',
    'cert.pem',
    'context.json',
    'key.pem',
  ]);
});

test('registries that were not known are noted; those that were stay', () => {
  const context = { name: 'local', clusterId: 'c', registries: ['a:1'] };
  contexts.write(context, credentials);
  contexts.learn(context, ['a:1']);
  expect(contexts.read('local').registries).toEqual(['a:1']);
  contexts.learn(context, ['b:1', 'a:1']);
  expect(contexts.read('local')).toEqual({ ...context, registries: ['a:1', 'b:1'] });
  contexts.learn(contexts.read('local'), []);
  expect(contexts.read('local').registries).toEqual(['a:1', 'b:1']);
});
