import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ProcessIdentity } from '../system/process.ts';
import type { MachineState } from './machine-state.ts';

/** Where an engine of ours lives. Nothing of it is elsewhere but its socket, devices, rules and control groups. */
export interface EnginePlace {
  /** Data, log and record. Default /var/lib/berth-dev. */
  readonly stateDir: string;
  /** Sockets and what ends with the machine. Default /run/berth-dev. */
  readonly runDir: string;
  /** Control group of its containers. Default /berth-dev. */
  readonly cgroup: string;
}

export const defaultPlace: EnginePlace = {
  stateDir: '/var/lib/berth-dev',
  runDir: '/run/berth-dev',
  cgroup: '/berth-dev',
};

/** What {@link ensureEngine} did, for its counterpart to undo. */
export interface EngineRecord {
  readonly dockerHost: string;
  /** Undefined from before the engine's first start until it is started. */
  readonly process?: ProcessIdentity;
  /** Of before the engine's first start. */
  readonly before: MachineState;
}

export const dataDir = (place: EnginePlace): string => join(place.stateDir, 'engine');
export const logFile = (place: EnginePlace): string => join(place.stateDir, 'dockerd.log');
const recordFile = (place: EnginePlace): string => join(place.stateDir, 'engine.json');

export function readRecord(place: EnginePlace): EngineRecord | undefined {
  const file = recordFile(place);
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as EngineRecord) : undefined;
}

export function writeRecord(place: EnginePlace, record: EngineRecord): void {
  mkdirSync(place.stateDir, { recursive: true, mode: 0o711 });
  const file = recordFile(place);
  writeFileSync(`${file}.new`, JSON.stringify(record, undefined, 2));
  renameSync(`${file}.new`, file);
}
