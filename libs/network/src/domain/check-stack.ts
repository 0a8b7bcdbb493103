import type { Network } from '@berth/contracts/network';
import type { Stack } from '@berth/contracts/scheduler';
import type { NetworkSpec } from '@berth/contracts/workload';
import { BerthError } from '@berth/kernel';
import { isDeclaredAlike } from '@berth/workload';
import { backendOf, backendOption, backends, mtuOption } from './backend.ts';
import { fullNameOf } from './reconcile.ts';

/** Options of `driver_opts` that the networks of this version honour. */
const knownDriverOpts: readonly string[] = [backendOption, mtuOption];
/** IPv4 needs no less, and no link carries more. */
const mtuMin = 576;
const mtuMax = 65_535;

export interface CheckInput {
  readonly namespace: string;
  readonly stack: string;
  readonly specs: readonly NetworkSpec[];
  /** Networks there are. */
  readonly networks: readonly Network[];
  /** Stacks there are: their networks may not exist yet. */
  readonly stacks: readonly Stack[];
}

/**
 * Can a stack have its networks? Throws InvalidArgument (DRIVER_OPT_UNKNOWN, BAD_DRIVER_OPT), AlreadyExists (NETWORK_NAME_TAKEN) or
 * FailedPrecondition (NETWORK_FIXED), each naming the network and the remedy.
 */
export function checkStackNetworks(input: CheckInput): void {
  for (const spec of input.specs) {
    const unknown = Object.keys(spec.driverOpts).find((key) => !knownDriverOpts.includes(key));
    if (unknown !== undefined) {
      throw new BerthError(
        'InvalidArgument',
        `network "${spec.name}": unknown driver option "${unknown}" (known: ${knownDriverOpts.join(', ')}); remove it from driver_opts`,
        { reason: 'DRIVER_OPT_UNKNOWN', details: { network: spec.name, option: unknown } },
      );
    }
    checkOptions(spec);
    checkName(input, spec);
    checkFixed(input, spec);
  }
}

function checkOptions({ name, driverOpts }: NetworkSpec): void {
  if (backendOf(driverOpts) === undefined) {
    throw badOption(name, backendOption, driverOpts, `one of ${backends.join(', ')}`);
  }
  const mtu = driverOpts[mtuOption];
  if (mtu !== undefined && !(/^\d+$/u.test(mtu) && Number(mtu) >= mtuMin && Number(mtu) <= mtuMax)) {
    throw badOption(name, mtuOption, driverOpts, `a number from ${mtuMin} to ${mtuMax}`);
  }
}

function badOption(
  network: string,
  option: string,
  driverOpts: Readonly<Record<string, string>>,
  wanted: string,
): BerthError {
  const message = `network "${network}": driver option "${option}" is "${driverOpts[option]}"; it must be ${wanted}`;
  return new BerthError('InvalidArgument', message, { reason: 'BAD_DRIVER_OPT', details: { network, option } });
}

/** In Compose two projects with one network name share the network; here networks belong to one stack each. */
function checkName(input: CheckInput, spec: NetworkSpec): void {
  const fullName = fullNameOf(input.stack, spec);
  const holder =
    input.networks.find(
      (network) =>
        network.namespace === input.namespace && network.stack !== input.stack && network.fullName === fullName,
    )?.stack ??
    input.stacks.find(
      (stack) =>
        stack.namespace === input.namespace &&
        stack.name !== input.stack &&
        !stack.removing &&
        stack.networks.some((other) => fullNameOf(stack.name, other) === fullName),
    )?.name;
  if (holder === undefined) return;
  throw new BerthError(
    'AlreadyExists',
    `network "${spec.name}": the name "${fullName}" belongs to stack "${holder}", and stacks do not share networks yet; ` +
      'give it another `name:`, or leave `name:` out',
    { reason: 'NETWORK_NAME_TAKEN', details: { network: spec.name, stack: holder } },
  );
}

/** What containers already run with can't be changed under them. */
function checkFixed(input: CheckInput, spec: NetworkSpec): void {
  const existing = input.networks.find(
    (network) =>
      network.namespace === input.namespace &&
      network.stack === input.stack &&
      network.name === spec.name &&
      !network.deleting,
  );
  // A removed stack that comes back under its name gets new networks.
  const current = input.stacks.find((stack) => stack.id === existing?.stackId);
  if (!existing || !current || current.removing) return;
  if (isDeclaredAlike(existing, spec)) return;
  throw new BerthError(
    'FailedPrecondition',
    `network "${spec.name}": \`internal\` and \`driver_opts\` of an existing network are fixed; ` +
      'rename the network in the file to get a new one, or take the stack down first',
    { reason: 'NETWORK_FIXED', details: { network: spec.name } },
  );
}
