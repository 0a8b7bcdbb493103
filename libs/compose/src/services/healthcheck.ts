import type { Healthcheck } from '@berth/contracts/workload';
import type { Field } from '../field.ts';
import { healthcheckLevel } from '../keys.ts';
import { parseDuration } from '../text/units.ts';

/** How Docker checks the container; absent keeps the image's check. */
export function readHealthcheck(field: Field | undefined): Healthcheck | undefined {
  if (field === undefined || !field.keys(healthcheckLevel)) return undefined;
  const test = readTest(field.get('test'));
  const disable = (field.get('disable')?.boolean() ?? false) || test[0] === 'NONE';
  return {
    disable,
    test: disable ? [] : test,
    intervalMs: field.get('interval')?.parsed(parseDuration) ?? 0,
    timeoutMs: field.get('timeout')?.parsed(parseDuration) ?? 0,
    retries: field.get('retries')?.integer(0, 1000) ?? 0,
    startPeriodMs: field.get('start_period')?.parsed(parseDuration) ?? 0,
  };
}

function readTest(field: Field | undefined): string[] {
  if (field === undefined) return [];
  if (field.node.kind === 'scalar') {
    const command = field.filled();
    return command === undefined ? [] : ['CMD-SHELL', command];
  }
  const words = field.strings();
  const [form] = words;
  const remedy = 'start the list with CMD, CMD-SHELL or NONE, such as ["CMD", "pg_isready"]';
  if (form !== undefined && !['NONE', 'CMD', 'CMD-SHELL'].includes(form)) {
    field.fail(`a test cannot start with "${form}"`, remedy);
    return [];
  }
  if (form === 'CMD-SHELL' && words.length > 2) {
    field.warn('the shell reads only the first text after CMD-SHELL; use CMD, or write the command as one text');
  }
  if ((form === 'CMD' || form === 'CMD-SHELL') && words.length < 2) {
    field.fail(`${form} takes ${form === 'CMD' ? 'a program' : 'a command'} after it`, remedy);
    return [];
  }
  return words;
}
