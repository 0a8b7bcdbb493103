import type { ContainerSpec, NetworkMode as Mode } from '@berth/contracts/workload';
import { NetworkMode } from '@berth/contracts/workload';
import type { Field } from '../field.ts';
import { serviceLevel } from '../keys.ts';
import { parseDuration } from '../text/units.ts';
import { readCommand } from './command.ts';
import type { PlacedDependency } from './depends-on.ts';
import { readDependsOn } from './depends-on.ts';
import type { Deployment } from './deploy.ts';
import { readDeployment } from './deploy.ts';
import { readEnvironment } from './environment.ts';
import { readHealthcheck } from './healthcheck.ts';
import type { PlacedMount } from './mounts.ts';
import { readMounts } from './mounts.ts';
import type { Attachment } from './networking.ts';
import { readAttachments, readExtraHosts, readNetworkMode } from './networking.ts';
import { readLabels } from './pairs.ts';
import type { PublishedPort, ServedPort } from './ports.ts';
import { readExpose, readPorts } from './ports.ts';
import {
  readCapabilities,
  readHostname,
  readStopSignal,
  readSysctls,
  readUlimits,
  readUser,
  readWorkingDir,
} from './process.ts';
import type { Surroundings } from './surroundings.ts';

/** A service as read from the file: values with their places, before services are held against each other. */
export interface ServiceDraft {
  readonly name: string;
  readonly field: Field;
  readonly container: ContainerSpec;
  readonly deployment: Deployment;
  readonly dependsOn: readonly PlacedDependency[];
  readonly attachments: readonly Attachment[];
  readonly mounts: readonly PlacedMount[];
  readonly ports: readonly PublishedPort[];
  readonly expose: readonly ServedPort[];
}

/** Milliseconds from the stop signal to SIGKILL where the file says nothing. */
const stopGracePeriodMs = 10_000;

/** Reads one service; what is wrong with it goes to the report. */
export function readService(name: string, field: Field, surroundings: Surroundings): ServiceDraft {
  field.keys(serviceLevel);
  checkServiceName(name, field);
  const networkMode = readNetworkMode(field);
  const mounts = readMounts(field, surroundings);
  return {
    name,
    field,
    container: readContainer(field, surroundings, networkMode, mounts),
    deployment: readDeployment(field),
    dependsOn: readDependsOn(field.get('depends_on')),
    attachments: readAttachments(field, networkMode),
    mounts,
    ports: readPorts(field.get('ports')),
    expose: readExpose(field.get('expose')),
  };
}

function readContainer(
  field: Field,
  surroundings: Surroundings,
  networkMode: Mode,
  mounts: readonly PlacedMount[],
): ContainerSpec {
  return {
    image: readImage(field),
    entrypoint: readCommand(field.get('entrypoint')),
    command: readCommand(field.get('command')),
    environment: readEnvironment(field, surroundings),
    user: readUser(field.get('user')),
    workingDir: readWorkingDir(field.get('working_dir')),
    hostname: readHostname(field.get('hostname')),
    capAdd: readCapabilities(field.get('cap_add')),
    capDrop: readCapabilities(field.get('cap_drop')),
    readOnly: field.get('read_only')?.boolean() ?? false,
    init: field.get('init')?.boolean() ?? false,
    mounts: mounts.map((mount) => mount.spec),
    sysctls: readSysctls(field.get('sysctls'), networkMode === NetworkMode.NETWORK_MODE_HOST),
    ulimits: readUlimits(field.get('ulimits')),
    extraHosts: readExtraHosts(field.get('extra_hosts')),
    labels: readLabels(field.get('labels')),
    stopSignal: readStopSignal(field.get('stop_signal')),
    stopGracePeriodMs: field.get('stop_grace_period')?.parsed(parseDuration) ?? stopGracePeriodMs,
    healthcheck: readHealthcheck(field.get('healthcheck')),
    networkMode,
  };
}

/** The grammar of Docker's references, by its parts: registry, path, tag, digest. */
const imageDomain = String.raw`(?:[a-zA-Z0-9][a-zA-Z0-9.-]*|\[[a-fA-F0-9:]+\])(?::\d+)?/`;
const imagePart = '[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*';
const imagePattern = new RegExp(
  String.raw`^(?:${imageDomain})?${imagePart}(?:/${imagePart})*(?::\w[\w.-]{0,127})?(?:@[a-zA-Z][\w+.-]*:[0-9a-fA-F]{32,})?$`,
);

function readImage(service: Field): string {
  const field = service.get('image');
  if (field === undefined) {
    // Where `build` is refused, with the same remedy, it is said once.
    const isSaid = service.get('build') !== undefined && !service.report.lenient;
    if (service.node.kind !== 'scalar' && service.node.kind !== 'list' && !isSaid) {
      service.report.fail(service.keyAt, service.path, 'the service has no image', 'name one with `image: NAME`');
    }
    return '';
  }
  const image = field.filled();
  if (image !== undefined && !imagePattern.test(image)) {
    field.fail(
      `"${image}" is not an image reference`,
      'write [REGISTRY/]NAME[:TAG][@DIGEST] with the name in lowercase, such as postgres:16',
    );
  }
  return image ?? '';
}

function checkServiceName(name: string, field: Field): void {
  if (/^[a-zA-Z0-9]([a-zA-Z0-9._-]{0,61}[a-zA-Z0-9])?$/.test(name)) return;
  field.report.fail(
    field.keyAt,
    field.path,
    `"${name}" cannot be a service name`,
    'use up to 63 letters, digits, "-", "_" and ".", starting and ending with a letter or digit: others find the service by this name in DNS',
  );
}
