import { describe, expect, it } from 'vitest';
import { accessRuleOf } from './access.ts';
import { allServices } from './gen/services.ts';

const roles = /^(operator|reader|subscriber|node|local-root|anyone|service:(scheduler|registry|network-manager))$/;
const methods = allServices.flatMap((service) =>
  Object.values(service.methods).map((method) => ({ name: `${service.fullName}/${method.name}`, method })),
);

describe('access rules in the protos', () => {
  it.each(methods)('$name has one, in known words', ({ method }) => {
    const rule = accessRuleOf(method);
    expect(rule?.allow).not.toHaveLength(0);
    for (const who of rule?.allow ?? []) expect(who).toMatch(roles);
  });

  it('reads what the proto says', () => {
    const join = methods.find(({ name }) => name === 'berth.registry.v1.JoinService/Join');
    expect(join && accessRuleOf(join.method)).toEqual({ allow: ['anyone'] });
  });

  it('takes a method without the option for one without a rule', () => {
    expect(accessRuleOf({ options: {} })).toBeUndefined();
  });
});
