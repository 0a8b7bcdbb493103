import type { Resources, RestartPolicy, ServiceSpec } from '@berth/contracts/workload';
import { RestartCondition } from '@berth/contracts/workload';
import type { Field } from '../field.ts';
import {
  deployLevel,
  limitsLevel,
  placementLevel,
  reservationsLevel,
  resourcesLevel,
  restartPolicyLevel,
} from '../keys.ts';
import { parseBytes, parseCpus, parseDuration } from '../text/units.ts';
import { parseConstraint } from './constraints.ts';
import { readLabels } from './pairs.ts';

/** Most replicas of one service. */
const replicasMax = 10_000;
/** Most cores and bytes a task may ask for; beyond any machine, so surely a slip of the unit. */
const cpuMillisMax = 10_000 * 1000;
const memoryBytesMax = 1024 ** 5;
/** Docker refuses a container with less. */
const memoryLimitBytesMin = 6 * 1024 ** 2;
/** Restart delay of Swarm's policy, and of Docker's own `restart:`. */
const swarmDelayMs = 5000;
const dockerDelayMs = 100;

/** What `deploy`, `restart` and `scale` say. */
export interface Deployment extends Pick<ServiceSpec, 'mode' | 'reservations' | 'limits' | 'constraints' | 'labels'> {
  /** Undefined when the file says nothing of restarting. */
  readonly restart: RestartPolicy | undefined;
  /** Where the restart policy is written. */
  readonly restartField: Field | undefined;
}

export function readDeployment(service: Field): Deployment {
  const deploy = service.get('deploy');
  deploy?.keys(deployLevel);
  const policy = deploy?.get('restart_policy');
  const restartField = service.get('restart');
  const plain = restartField === undefined ? undefined : readRestart(restartField);
  if (policy !== undefined && restartField !== undefined) {
    restartField.warn('deploy.restart_policy is used instead of this key');
  }
  return {
    mode: readMode(service, deploy),
    ...readResources(deploy?.get('resources')),
    constraints: readConstraints(deploy?.get('placement')),
    labels: readLabels(deploy?.get('labels')),
    restart: policy === undefined ? plain : readRestartPolicy(policy),
    restartField: policy ?? restartField,
  };
}

function readMode(service: Field, deploy: Field | undefined): ServiceSpec['mode'] {
  const modeField = deploy?.get('mode');
  const mode = modeField?.string() ?? 'replicated';
  const replicasField = deploy?.get('replicas');
  const scaleField = service.get('scale');
  const replicas = replicasField?.integer(0, replicasMax);
  const scale = scaleField?.integer(0, replicasMax);
  if (mode === 'global') {
    (replicasField ?? scaleField)?.fail(
      'a global service has one task on every node, not a number of replicas',
      'remove the number, or use mode: replicated',
    );
    return { $case: 'global', value: {} };
  }
  if (mode !== 'replicated') {
    modeField?.fail(`mode "${mode}" is not supported by this version of Berth`, 'use one of: replicated, global');
  }
  if (replicas !== undefined && scale !== undefined && replicas !== scale) {
    scaleField?.fail(`scale is ${scale} but deploy.replicas is ${replicas}`, 'keep one of the two');
  }
  return { $case: 'replicated', value: { replicas: replicas ?? scale ?? 1 } };
}

function readResources(field: Field | undefined): {
  limits: Resources | undefined;
  reservations: Resources | undefined;
} {
  field?.keys(resourcesLevel);
  const limitsField = field?.get('limits');
  const reservationsField = field?.get('reservations');
  limitsField?.keys(limitsLevel);
  reservationsField?.keys(reservationsLevel);
  const limits = readAmounts(limitsField);
  const reservations = readAmounts(reservationsField);
  const memoryLimit = limitsField?.get('memory');
  if (limits !== undefined && limits.memoryBytes > 0 && limits.memoryBytes < memoryLimitBytesMin) {
    memoryLimit?.fail('the memory limit is under 6 MiB, which Docker refuses', 'give the container at least 6m');
  }
  if (limits !== undefined && reservations !== undefined) {
    if (limits.cpuMillis > 0 && reservations.cpuMillis > limits.cpuMillis) {
      reservationsField
        ?.get('cpus')
        ?.fail(
          `the reservation of ${reservations.cpuMillis / 1000} cores is over the limit of ${limits.cpuMillis / 1000}`,
          'reserve at most the limit',
        );
    }
    if (limits.memoryBytes > 0 && reservations.memoryBytes > limits.memoryBytes) {
      reservationsField
        ?.get('memory')
        ?.fail(
          `the reservation of ${reservations.memoryBytes} bytes is over the limit of ${limits.memoryBytes}`,
          'reserve at most the limit',
        );
    }
  }
  return { limits, reservations };
}

function readAmounts(field: Field | undefined): Resources | undefined {
  if (field === undefined) return undefined;
  const cpus = field.get('cpus');
  const memory = field.get('memory');
  const cpuMillis = cpus?.parsed(parseCpus) ?? 0;
  const bytes = memory?.parsed(parseBytes);
  if (cpuMillis > cpuMillisMax) cpus?.fail('no machine has that many cores', 'write a number of cores, such as 0.5');
  const memoryBytes = bytes ?? 0;
  if (memoryBytes > memoryBytesMax) memory?.fail('more than 1 PiB of memory', 'check the unit; 512m is 512 MiB');
  if (bytes === 0) memory?.fail('0 bytes of memory', 'write an amount such as 512m, or remove the key');
  return { cpuMillis, memoryBytes };
}

function readConstraints(field: Field | undefined): string[] {
  if (field === undefined || !field.keys(placementLevel)) return [];
  const constraints = (field.get('constraints')?.items() ?? []).flatMap((item) => item.parsed(parseConstraint) ?? []);
  return [...new Set(constraints)];
}

function readRestartPolicy(field: Field): RestartPolicy {
  field.keys(restartPolicyLevel);
  const condition = field.get('condition')?.oneOf(['none', 'on-failure', 'any']) ?? 'any';
  const conditions = {
    none: RestartCondition.RESTART_CONDITION_NONE,
    'on-failure': RestartCondition.RESTART_CONDITION_ON_FAILURE,
    any: RestartCondition.RESTART_CONDITION_ANY,
  } as const;
  return {
    condition: conditions[condition],
    delayMs: field.get('delay')?.parsed(parseDuration) ?? swarmDelayMs,
    maxAttempts: field.get('max_attempts')?.integer(0, 1_000_000) ?? 0,
    windowMs: field.get('window')?.parsed(parseDuration) ?? 0,
  };
}

function readRestart(field: Field): RestartPolicy | undefined {
  // Unquoted `no` reads as a text here and as a boolean in older YAML; both mean the same.
  const text = field.node.kind === 'scalar' && field.node.value === false ? 'no' : field.string();
  if (text === undefined) return undefined;
  const policy = { delayMs: dockerDelayMs, maxAttempts: 0, windowMs: 0 };
  if (text === 'no') return { ...policy, condition: RestartCondition.RESTART_CONDITION_NONE };
  if (text === 'always' || text === 'unless-stopped') {
    return { ...policy, condition: RestartCondition.RESTART_CONDITION_ANY };
  }
  const attempts = /^on-failure(?::(\d{1,6}))?$/.exec(text);
  if (attempts === null) {
    return field.fail(
      `"${text}" is not a restart policy`,
      'use one of: "no", always, on-failure, on-failure:3, unless-stopped',
    );
  }
  return {
    ...policy,
    condition: RestartCondition.RESTART_CONDITION_ON_FAILURE,
    maxAttempts: Number(attempts[1] ?? 0),
  };
}

/** The policy of a service whose file says nothing of restarting. */
export function defaultRestart(awaitedToComplete: boolean): RestartPolicy {
  return {
    condition: awaitedToComplete ? RestartCondition.RESTART_CONDITION_NONE : RestartCondition.RESTART_CONDITION_ANY,
    delayMs: swarmDelayMs,
    maxAttempts: 0,
    windowMs: 0,
  };
}
