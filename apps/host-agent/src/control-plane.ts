import { join } from 'node:path';
import type { ClusterState } from '@berth/agent';
import {
  ControlPlaneCertificates,
  isOneShot,
  keepReaderCopies,
  NatsUsers,
  SigningHandler,
  staticAssignments,
} from '@berth/agent';
import { rpc } from '@berth/contracts';
import { connectNats } from '@berth/events-nats';
import { dnsNameOf, onAbort } from '@berth/kernel';
import { bind, fileTls } from '@berth/rpc';
import type { Base } from './base.ts';
import type { LocalAuthority } from './local-authority.ts';
import { loadManifest, manifestVariables } from './manifest.ts';
import type { NodeWiring } from './node-wiring.ts';

/** What a manager's agent does more: it keeps the control plane running from the manifest, and signs for the registry.
 *  Returns who must hear of every certificate that is signed. */
export async function startControlPlane(
  base: Base,
  cluster: ClusterState,
  authority: LocalAuthority,
  wired: NodeWiring,
): Promise<NatsUsers> {
  const { config, clock, log, lives, signal, disk, members } = base;
  const nats = new NatsUsers({
    disk,
    clock,
    log,
    address: cluster.advertise,
    port: config.natsPort,
    httpPort: config.natsHttpPort,
    reload: () => wired.signalStatic('nats', 'SIGHUP'),
  });
  await nats.prepare(members.members);
  members.onChange((list) => nats.members(list));
  lives.add(nats.run(signal));

  const onDeaf = (error: unknown): void => {
    log.error(
      { error },
      'etcd could not be restarted: it trusts the CAs of before. Remedy: docker restart its container',
    );
  };
  const certificates = new ControlPlaneCertificates({
    authority,
    address: cluster.advertise,
    clock,
    log,
    onRenewed: (folder, { trust }) => {
      if (folder === 'nats') nats.certificateRenewed();
      // etcd reads its certificate at every handshake, but whom it trusts only when it starts.
      if (folder === 'etcd' && trust)
        void wired.signalStatic('etcd', 'SIGTERM').catch((error: unknown) => onDeaf(error));
    },
  });
  await certificates.ensure();
  lives.add(certificates.run(signal));

  // Readers from outside have an account of their own on NATS.
  const natsTls = fileTls(join(config.stateDir, 'certs/nats'), { clock, logger: log });
  const bus = connectNats({
    servers: () => [`${cluster.advertise}:${config.natsPort}`],
    tls: () => natsTls.current(),
    serverName: dnsNameOf({ role: 'service', name: 'nats' }),
    name: 'copies for readers',
    clock,
    rng: base.rng,
    logger: log,
  });
  onAbort(signal, () => {
    natsTls.close();
    lives.add(bus.close());
  });
  lives.add(keepReaderCopies({ bus, clock, rng: base.rng, log }, signal));

  const tls = fileTls(join(config.stateDir, 'certs/signer'), { clock, logger: log });
  onAbort(signal, () => tls.close());
  const signing = new SigningHandler({
    authority,
    clock,
    log,
    onSigned: (identity) => nats.issued(identity),
    onAdvanced: () => certificates.changed(),
  });
  await base.serve(`${cluster.advertise}:${config.signPort}`, { kind: 'mtls', tls }, [bind(rpc.signing, signing)]);

  const manifest = loadManifest(config.manifest, manifestVariables(config, cluster, process.env), config.profiles);
  const node = await base.files.node();
  const statics = staticAssignments(manifest, {
    clusterId: cluster.clusterId,
    nodeId: node?.nodeId ?? '',
    address: cluster.advertise,
    sinceMs: cluster.createdAtMs,
  });
  const oneShots = statics.filter((a) => isOneShot(a.spec)).map((a) => a.task?.id ?? '');
  wired.engine.setStatics(statics, oneShots);
  return nats;
}
