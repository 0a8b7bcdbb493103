import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { hostNameServers, routesOf } from './host-facts.ts';

test("the kernel's routes in CIDR form, without bridges of ours", () => {
  const table = [
    'Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT',
    'eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0',
    'eth0\t0000A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0',
    'docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0',
    'bt12345678\t4000400A\t00000000\t0001\t0\t0\t0\tC0FFFFFF\t0\t0\t0',
    '',
  ].join('\n');
  expect(routesOf(table)).toEqual(['0.0.0.0/0', '192.168.0.0/24', '172.17.0.0/16']);
});

test('name servers come from the first file that is there, as it is now', () => {
  const folder = mkdtempSync(join(tmpdir(), 'berth-facts-'));
  try {
    const file = join(folder, 'resolv.conf');
    expect(hostNameServers([file])).toEqual([]);
    writeFileSync(file, '# nameserver 198.18.0.9\nsearch x\nnameserver 198.18.0.1\n nameserver 198.18.0.2\n');
    expect(hostNameServers([join(folder, 'none'), file])).toEqual(['198.18.0.1', '198.18.0.2']);
    writeFileSync(file, 'nameserver 198.18.0.3\n');
    expect(hostNameServers([file])).toEqual(['198.18.0.3']);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
