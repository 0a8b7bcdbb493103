import { NetworkMode } from '@berth/contracts/workload';
import type { Field } from '../field.ts';
import { attachmentLevel } from '../keys.ts';
import { isIp } from '../text/addresses.ts';
import { compareText } from './pairs.ts';

/** A network that a service is on, with the place where it is written (undefined: the implicit default). */
export interface Attachment {
  readonly network: string;
  readonly aliases: readonly string[];
  readonly field: Field | undefined;
}

/** Which network namespace the service's containers get. */
export function readNetworkMode(service: Field): NetworkMode {
  const field = service.get('network_mode');
  const mode = field?.filled();
  if (field === undefined || mode === undefined) return NetworkMode.NETWORK_MODE_UNSPECIFIED;
  if (mode === 'host' || mode === 'none') {
    if (service.get('networks') !== undefined) {
      field.fail('network_mode and networks exclude each other', 'remove one of the two');
    }
    service
      .get('ports')
      ?.fail(
        `ports cannot be published with network_mode: ${mode}`,
        mode === 'host'
          ? 'remove `ports`: the container listens on the host itself; list its ports under `expose` so that placement counts them'
          : 'remove `ports` or network_mode',
      );
    return mode === 'host' ? NetworkMode.NETWORK_MODE_HOST : NetworkMode.NETWORK_MODE_NONE;
  }
  field.fail(
    `network_mode "${mode}" is not supported by this version of Berth`,
    'use host or none, or remove the key and put the service on a network under `networks`',
  );
  return NetworkMode.NETWORK_MODE_UNSPECIFIED;
}

/** Networks of the service, sorted by name; "default" when it names none. */
export function readAttachments(service: Field, mode: NetworkMode): Attachment[] {
  if (mode !== NetworkMode.NETWORK_MODE_UNSPECIFIED) return [];
  const field = service.get('networks');
  const attachments = field === undefined ? [] : field.node.kind === 'list' ? listed(field) : mapped(field);
  if (attachments.length === 0) return [{ network: 'default', aliases: [], field: undefined }];
  return attachments.sort((a, b) => compareText(a.network, b.network));
}

function listed(field: Field): Attachment[] {
  const seen = new Set<string>();
  return field.items().flatMap((item): Attachment[] => {
    const network = item.filled();
    if (network === undefined || seen.has(network)) return [];
    seen.add(network);
    return [{ network, aliases: [], field: item }];
  });
}

function mapped(field: Field): Attachment[] {
  return field.entries('a list or a map').map(([network, entry]) => {
    if (entry.isNull || !entry.keys(attachmentLevel)) return { network, aliases: [], field: entry };
    const aliases = (entry.get('aliases')?.items() ?? []).flatMap((item) => {
      const alias = item.filled();
      if (alias === undefined) return [];
      if (isHostname(alias)) return [alias];
      return item.fail(`"${alias}" cannot be a DNS name`, 'use letters, digits, "-", "_" and "."') ?? [];
    });
    return { network, aliases: [...new Set(aliases)].sort(compareText), field: entry };
  });
}

/** True for what can stand in DNS as a name: labels of up to 63 characters, 253 in all. */
export function isHostname(text: string): boolean {
  return (
    text.length <= 253 &&
    text.split('.').every((label) => /^[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?$/.test(label))
  );
}

/** Lines of /etc/hosts as "name:address", each once, in the order of the file. */
export function readExtraHosts(field: Field | undefined): string[] {
  if (field === undefined) return [];
  const lines =
    field.node.kind === 'list' ? field.items().flatMap(hostLine) : field.entries('a list or a map').flatMap(hostEntry);
  return [...new Set(lines)];
}

function hostLine(field: Field): string[] {
  const text = field.filled();
  if (text === undefined) return [];
  const split = text.search(/[=:]/);
  if (split < 1) {
    field.fail(`"${text}" is not a host and its address`, 'write NAME=ADDRESS, such as db.example=192.0.2.10');
    return [];
  }
  return hostAddress(field, text.slice(0, split), text.slice(split + 1));
}

function hostEntry([name, entry]: [string, Field]): string[] {
  return entry.oneOrMany().flatMap((item) => {
    const address = item.filled();
    return address === undefined ? [] : hostAddress(item, name, address);
  });
}

function hostAddress(field: Field, name: string, written: string): string[] {
  const address = written.trim().replace(/^\[(.*)\]$/, '$1');
  if (!isHostname(name.trim())) {
    field.fail(`"${name}" cannot be a host name`, 'use letters, digits, "-", "_" and "."');
    return [];
  }
  if (address !== 'host-gateway' && !isIp(address)) {
    field.fail(`"${written}" is not an IP address`, 'write an IPv4 or IPv6 address, or host-gateway');
    return [];
  }
  return [`${name.trim()}:${address}`];
}
