import type { ServiceVersion, VolumePin } from '@berth/contracts/scheduler';
import type { Records } from '../state/records.ts';
import { volumeNamesOf } from './derive.ts';

/** Where the named volumes of a spec version still live, if its stack's removal takes them along; else none. */
export function volumesToGo(records: Records, stackId: string, version: ServiceVersion | undefined): VolumePin[] {
  const record = records.stack(stackId)?.value;
  if (!record?.stack?.removing || !record.removeVolumes || !version) return [];
  const { name, namespace } = record.stack;
  return volumeNamesOf(name, version.volumes).flatMap((volume) => records.volumes.get(namespace, volume)?.value ?? []);
}
