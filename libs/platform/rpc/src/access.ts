import type { MethodWithOptions } from '@berth/contracts';
import { accessRuleOf } from '@berth/contracts';
import type { Identity } from '@berth/kernel';
import { admits, BerthError, formatIdentity } from '@berth/kernel';

/** Throws PermissionDenied unless the method's own rule admits the caller. No rule admits nobody. */
export function checkAccess(path: string, method: MethodWithOptions | undefined, caller: Identity): void {
  const allow = (method && accessRuleOf(method))?.allow ?? [];
  if (admits(allow, caller)) return;
  const who = formatIdentity(caller);
  throw new BerthError('PermissionDenied', `${who} may not call ${path}`, {
    reason: 'ACCESS_DENIED',
    details: { method: path, caller: who, allow: allow.join(' ') },
  });
}
