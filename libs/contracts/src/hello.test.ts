import { describe, expect, it } from 'vitest';
import { checkHello, helloOf } from './hello.ts';
import { protocolVersion } from './rpc.ts';

describe('checkHello', () => {
  const hello = helloOf('c1', '0.1.0');

  it('takes its own version and its neighbours', () => {
    expect(() => checkHello(hello, 'c1')).not.toThrow();
    expect(() => checkHello({ ...hello, protocolVersion: protocolVersion + 1 }, 'c1')).not.toThrow();
  });

  it('refuses other versions, and a caller without one', () => {
    expect(() => checkHello({ ...hello, protocolVersion: protocolVersion + 2 }, 'c1')).toThrow(
      expect.objectContaining({ code: 'FailedPrecondition', reason: 'PROTOCOL_VERSION' }),
    );
    expect(() => checkHello({ ...hello, protocolVersion: 0 }, 'c1')).toThrow(/protocol version 0/u);
    expect(() => checkHello(undefined, 'c1')).toThrow(/protocol version 0/u);
  });

  it('refuses another cluster, and no cluster but from a newcomer', () => {
    expect(() => checkHello({ ...hello, clusterId: 'c2' }, 'c1')).toThrow(
      expect.objectContaining({ reason: 'WRONG_CLUSTER' }),
    );
    expect(() => checkHello({ ...hello, clusterId: '' }, 'c1')).toThrow(/none/u);
    expect(() => checkHello({ ...hello, clusterId: '' }, 'c1', { newcomer: true })).not.toThrow();
    expect(() => checkHello({ ...hello, clusterId: 'c2' }, 'c1', { newcomer: true })).toThrow(/another cluster/u);
  });
});
