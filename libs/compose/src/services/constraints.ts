import type { Parsed } from '../text/units.ts';

const keysRemedy =
  'use node.id, node.hostname, node.role, node.labels.<name>, node.platform.os, node.platform.arch or engine.labels.<name> with == or !=';
const keyPattern =
  /^(node\.(id|hostname|role|platform\.(os|arch))|(node|engine)\.labels\.[a-zA-Z0-9_][a-zA-Z0-9_./-]*)$/;

/** Checks a placement constraint and gives it one spelling: `node.labels.disk == ssd`. */
export function parseConstraint(text: string): Parsed<string> {
  const match = /^(.*?)\s*(==|!=)\s*(.*)$/.exec(text.trim());
  if (match === null) {
    return { ok: false, message: `"${text}" is not a constraint`, remedy: `write KEY == VALUE; ${keysRemedy}` };
  }
  const [, key = '', operator = '', value = ''] = match;
  if (!keyPattern.test(key)) {
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
