import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { eventsDocument } from './events.ts';
import type { Schema } from './schema.ts';
import { readSchema } from './schema.ts';

const committed = readFileSync(join(resolve(import.meta.dirname, '../..'), 'docs/events.md'), 'utf8');
const schema = readSchema();

/** The schema with one type replaced. */
const changed = (name: string, change: (text: string) => string): Schema => {
  const type = schema.get(name);
  return new Map([...schema, [name, JSON.parse(change(JSON.stringify(type)))]]);
};

describe('docs/events.md', () => {
  it('is what the code says (remedy: npm run docs)', () => {
    expect(eventsDocument(schema)).toBe(committed);
  });

  it('would not be after a field was renamed, or its comment changed', () => {
    const renamed = changed('berth.registry.v1.Endpoint', (text) => text.replace('"taskName"', '"nameOfTask"'));
    expect(eventsDocument(renamed)).not.toBe(committed);
    const told = changed('berth.scheduler.v1.Stack', (text) => text.replace('"comment":"', '"comment":"Also: '));
    expect(eventsDocument(told)).not.toBe(committed);
  });

  it('tells of every subject, event type, kind of resource and type that they use', () => {
    for (const owner of ['registry', 'scheduler', 'network']) {
      expect(committed).toContain(`berth.${owner}.changes.SCOPE`);
      expect(committed).toContain(`BERTH_${owner.toUpperCase()}`);
    }
    for (const type of ['berth.changes.v1', 'berth.reset.v1']) expect(committed).toContain(type);
    const headings = [...committed.matchAll(/^#### (\w+)$/gmu)].map(([, name]) => name);
    for (const name of [
      'Stack',
      'Service',
      'TaskView',
      'TaskStatus',
      'Node',
      'Endpoint',
      'Member',
      'Network',
      'Lease',
    ]) {
      expect(headings).toContain(name);
    }
    expect(new Set(headings).size).toBe(headings.length);
    // Every link leads somewhere.
    const links = [...committed.matchAll(/\]\(#(\w+)\)/gu)].map(([, target]) => target);
    expect(links.filter((target) => !headings.some((name) => name?.toLowerCase() === target))).toEqual([]);
  });

  it('has no word on specs and environments: they do not travel', () => {
    const headings = [...committed.matchAll(/^#### (\w+)$/gmu)].map(([, name]) => name);
    for (const name of ['StackSpec', 'ServiceSpec', 'ContainerSpec']) expect(headings).not.toContain(name);
  });
});
