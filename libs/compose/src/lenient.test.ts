import { describe, expect, it } from 'vitest';
import { load, loadGood } from './testing/load.ts';

const text = `
services:
  web:
    image: nginx:1
    container_name: shop
    enviroment: { A: b }
    tty: true
    deploy:
      replicas: 2
      update_config: { parallelism: 2 }
    healthcheck: { test: "true", start_interval: 1s }
configs:
  c: { file: ./c }
`;

describe('lenient', () => {
  it('skips each key that is not read, with its place; the others are as they are', () => {
    const { spec, warnings } = loadGood(text, { lenient: true });
    expect(warnings.map(({ line, key }) => [line, key])).toEqual([
      [5, 'services.web.container_name'],
      [6, 'services.web.enviroment'],
      [7, 'services.web.tty'],
      [10, 'services.web.deploy.update_config'],
      [11, 'services.web.healthcheck.start_interval'],
      [12, 'configs'],
    ]);
    expect(warnings.every(({ message }) => message.endsWith('skipped, it has no effect'))).toBe(true);
    const without = text
      .split('\n')
      .filter((line) => !/container_name|enviroment|tty|update_config|configs|c: /u.test(line))
      .join('\n')
      .replace(', start_interval: 1s', '');
    expect(spec).toEqual(loadGood(without).spec);
  });

  it('refuses without it, and still refuses a bad value with it', () => {
    expect(load(text).ok).toBe(false);
    const bad = load(text.replace('replicas: 2', 'replicas: two'), { lenient: true });
    expect(bad.ok ? [] : bad.problems.map(({ key }) => key)).toEqual(['services.web.deploy.replicas']);
  });

  it('takes no service without an image, though it could be built, and nothing under x-berth', () => {
    const built = load('services:\n  web:\n    build: .\n', { lenient: true });
    expect(built.ok ? [] : built.problems.map(({ message }) => message)).toEqual(['the service has no image']);
    const own = load('services:\n  web:\n    image: a\n    x-berth: { spread: 1 }\n', { lenient: true });
    expect(own.ok).toBe(false);
  });
});
