import type { Network } from '@berth/contracts/network';
import { Network as NetworkCodec } from '@berth/contracts/network';
import { Stack } from '@berth/contracts/scheduler';
import { NetworkSpec } from '@berth/contracts/workload';
import { describe, expect, it } from 'vitest';
import { checkStackNetworks } from './check-stack.ts';

const spec = (partial: Partial<NetworkSpec>) => NetworkSpec.fromPartial({ name: 'front', ...partial });
const network = (partial: Partial<Network>) =>
  NetworkCodec.fromPartial({
    id: 'n1',
    stackId: 's1',
    namespace: 'default',
    stack: 'shop',
    name: 'front',
    fullName: 'shop_front',
    ...partial,
  });
const stack = (name: string, id: string, specs: NetworkSpec[]) =>
  Stack.fromPartial({ id, namespace: 'default', name, networks: specs });
const check = (partial: Partial<Parameters<typeof checkStackNetworks>[0]>) => () =>
  checkStackNetworks({ namespace: 'default', stack: 'shop', specs: [], networks: [], stacks: [], ...partial });

describe('checkStackNetworks', () => {
  it('takes what can be had', () => {
    expect(
      check({
        specs: [spec({ driverOpts: { 'com.docker.network.driver.mtu': '1400' } })],
        networks: [network({ id: 'n2', stack: 'blog', name: 'front', fullName: 'blog_front' })],
      }),
    ).not.toThrow();
  });

  it('names an unknown driver option', () => {
    expect(check({ specs: [spec({ driverOpts: { encrypted: 'yes' } })] })).toThrow(
      expect.objectContaining({ code: 'InvalidArgument', reason: 'DRIVER_OPT_UNKNOWN' }),
    );
  });

  it('says what the backend and the MTU may be', () => {
    expect(check({ specs: [spec({ driverOpts: { 'berth.backend': 'host-gw' } })] })).not.toThrow();
    const bad = [
      ['berth.backend', 'ipsec'],
      ['com.docker.network.driver.mtu', '9k'],
    ] as const;
    for (const [option, value] of bad) {
      expect(check({ specs: [spec({ driverOpts: { [option]: value } })] })).toThrow(
        expect.objectContaining({
          code: 'InvalidArgument',
          reason: 'BAD_DRIVER_OPT',
          message: expect.stringMatching(/"(ipsec|9k)"; it must be (one of vxlan, host-gw|a number from 576)/u),
        }),
      );
    }
  });

  it('refuses the name of another stack, made or only declared; not its own', () => {
    const specs = [spec({ externalName: 'shared' })];
    const taken = expect.objectContaining({ code: 'AlreadyExists', reason: 'NETWORK_NAME_TAKEN' });
    expect(check({ specs, networks: [network({ stack: 'blog', fullName: 'shared' })] })).toThrow(taken);
    expect(check({ specs, stacks: [stack('blog', 's2', specs)] })).toThrow(taken);
    expect(
      check({ specs, networks: [network({ fullName: 'shared' })], stacks: [stack('shop', 's1', specs)] }),
    ).not.toThrow();
    expect(
      check({ specs, networks: [network({ stack: 'blog', fullName: 'shared', namespace: 'other' })] }),
    ).not.toThrow();
  });

  it('keeps what containers already run with, unless the stack is new', () => {
    const specs = [spec({ internal: true })];
    expect(check({ specs, networks: [network({})], stacks: [stack('shop', 's1', [])] })).toThrow(
      expect.objectContaining({ code: 'FailedPrecondition', reason: 'NETWORK_FIXED' }),
    );
    expect(
      check({ specs, networks: [network({})], stacks: [{ ...stack('shop', 's1', []), removing: true }] }),
    ).not.toThrow();
    expect(check({ specs, networks: [network({ deleting: true })], stacks: [stack('shop', 's1', [])] })).not.toThrow();
    expect(check({ specs, networks: [network({ internal: true })], stacks: [stack('shop', 's1', [])] })).not.toThrow();
  });
});
