import { describe, expect, it } from 'vitest';
import { compose } from './fixtures.ts';
import { hostsFor, promiseOf, runTogether } from './promise.ts';

const withService = (lines: string): string => `name: shop\nservices:\n  web:\n    image: busybox\n    ${lines}\n`;

describe('what a file promises', () => {
  it('is read without any code of Berth', () => {
    expect(promiseOf(compose)).toEqual({
      name: 'shop',
      services: [
        {
          name: 'web',
          wanted: 2,
          image: 'busybox:latest',
          command: 'sh-cecho$HOME',
          environment: { GREETING: 'hello', COUNT: '3' },
          constraints: [],
          named: true,
        },
        {
          name: 'probe',
          wanted: 'everywhere',
          image: 'busybox:latest',
          command: undefined,
          environment: {},
          constraints: [],
          named: true,
        },
      ],
    });
  });

  it('counts one task where the file says nothing, and takes `scale`', () => {
    expect(promiseOf(withService('')).services[0]?.wanted).toBe(1);
    expect(promiseOf(withService('scale: 4')).services[0]?.wanted).toBe(4);
  });

  it('holds environments given as lines', () => {
    const [web] = promiseOf(withService('environment: ["A=b=c", "FROM_OUTSIDE"]')).services;
    expect(web?.environment).toEqual({ A: 'b=c' });
  });

  it('compares a command as a string with its words', () => {
    expect(runTogether(`sh -c "echo a  b"`)).toBe(runTogether(['sh', '-c', 'echo a b']));
  });

  it.each([
    ['deploy: { mode: replicated-job }', 'no mode'],
    ['deploy: { placement: { constraints: ["node.labels.disk == ssd"] } }', 'only constraints'],
    [`command: ["echo", "\${HOST}"]`, 'no variables'],
  ])('is refused where it would be judged wrongly: %s', (line, message) => {
    expect(() => promiseOf(withService(line))).toThrow(message);
  });

  it('keeps to the hosts that constraints name', () => {
    const constraints = (text: string) =>
      hostsFor(
        promiseOf(withService(`deploy: { placement: { constraints: ["${text}"] } }`)).services[0] ?? expect.fail(),
        ['h1', 'h2', 'h3'],
      );
    expect(constraints('node.hostname == h2')).toEqual(['h2']);
    expect(constraints('node.hostname != h2')).toEqual(['h1', 'h3']);
  });
});
