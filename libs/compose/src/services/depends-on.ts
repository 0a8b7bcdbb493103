import { DependencyCondition } from '@berth/contracts/workload';
import type { Field } from '../field.ts';
import { dependencyLevel } from '../keys.ts';

/** A service that must have reached a condition first, with the place where it is written. */
export interface PlacedDependency {
  readonly service: string;
  readonly condition: DependencyCondition;
  /** False: left out when the service is not in the stack. */
  readonly required: boolean;
  readonly field: Field;
}

const conditions = {
  service_started: DependencyCondition.DEPENDENCY_CONDITION_STARTED,
  service_healthy: DependencyCondition.DEPENDENCY_CONDITION_HEALTHY,
  service_completed_successfully: DependencyCondition.DEPENDENCY_CONDITION_COMPLETED_SUCCESSFULLY,
} as const;
const conditionNames = ['service_started', 'service_healthy', 'service_completed_successfully'] as const;

/** Reads depends_on as a list (each started) or a map with conditions. */
export function readDependsOn(field: Field | undefined): PlacedDependency[] {
  if (field === undefined) return [];
  if (field.node.kind === 'list') {
    return field.items().flatMap((item): PlacedDependency[] => {
      const service = item.filled();
      return service === undefined
        ? []
        : [{ service, condition: conditions.service_started, required: true, field: item }];
    });
  }
  return field.entries('a list or a map').map(([service, entry]) => readDependency(service, entry));
}

function readDependency(service: string, field: Field): PlacedDependency {
  if (field.isNull) {
    field.fail(
      'nothing is written under this dependency',
      'write `condition: service_started`, or make depends_on a list',
    );
  }
  field.keys(dependencyLevel);
  const condition = field.get('condition')?.oneOf(conditionNames) ?? 'service_started';
  const required = field.get('required')?.boolean() ?? true;
  const restart = field.get('restart');
  if (restart?.boolean() === true) {
    restart.fail(
      'restart: true is not supported by this version of Berth',
      'remove it: a service keeps running when one that it depends on is replaced',
    );
  }
  return { service, condition: conditions[condition], required, field };
}

/** The name of a condition as Compose writes it. */
export function conditionName(condition: DependencyCondition): string {
  return conditionNames.find((name) => conditions[name] === condition) ?? 'service_started';
}
