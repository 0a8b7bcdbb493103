import type { Parsed } from '../text/units.ts';

const keysRemedy = 'use node.id, node.hostname, node.role or node.labels.<name> with == or !=';

/** Checks a placement constraint and gives it one spelling: `node.labels.disk == ssd`. */
export function parseConstraint(text: string): Parsed<string> {
  const match = /^(.*?)\s*(==|!=)\s*(.*)$/.exec(text.trim());
  if (match === null) {
    return { ok: false, message: `"${text}" is not a constraint`, remedy: `write KEY == VALUE; ${keysRemedy}` };
  }
  const [, key = '', operator = '', value = ''] = match;
  if (/^(engine\.labels\.|node\.platform\.|node\.ip$)/.test(key)) {
    return {
      ok: false,
      message: `constraints on ${key} are not supported by this version of Berth`,
      remedy: 'label the nodes and use node.labels.<name>',
    };
  }
  if (!/^node\.(id|hostname|role|labels\.[a-zA-Z0-9_][a-zA-Z0-9_./-]*)$/.test(key)) {
    return { ok: false, message: `"${key}" is not something nodes are chosen by`, remedy: keysRemedy };
  }
  if (!/^[a-zA-Z0-9:\-_ .*()?+[\]\\^$|/]+$/.test(value)) {
    return {
      ok: false,
      message: `"${value}" is not a value to compare with`,
      remedy: `write ${key} ${operator} VALUE`,
    };
  }
  if (key === 'node.role' && value !== 'manager' && value !== 'worker') {
    return { ok: false, message: `"${value}" is not a role`, remedy: 'the roles are manager and worker' };
  }
  return { ok: true, value: `${key} ${operator} ${value}` };
}
