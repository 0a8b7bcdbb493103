import { BinaryReader } from '@bufbuild/protobuf/wire';
import { Access } from './gen/berth/workload/v1/access.ts';

/** What this module reads of a method in a generated service definition. */
export interface MethodWithOptions {
  readonly options: { readonly _unknownFields?: { readonly [tag: number]: readonly Uint8Array[] } };
}

/** Wire tag of the method option `berth.workload.v1.access`: field 50001, length-delimited. */
const accessTag = (50001 << 3) | 2;

/**
 * The access rule that stands beside an RPC in its proto; undefined when it has none, which means: denied to everybody.
 * The generator keeps custom options as undecoded bytes, so they are decoded here.
 */
export function accessRuleOf(method: MethodWithOptions): Access | undefined {
  const encoded = method.options._unknownFields?.[accessTag]?.at(-1);
  return encoded === undefined ? undefined : Access.decode(new BinaryReader(encoded).bytes());
}
