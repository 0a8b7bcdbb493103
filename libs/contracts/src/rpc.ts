import type { CallExtra, CallerContext, RpcService } from '@berth/kernel';
import * as agent from './gen/agent.ts';
import * as network from './gen/network.ts';
import * as registry from './gen/registry.ts';
import * as scheduler from './gen/scheduler.ts';

function service<Client, Implementation>(definition: {
  readonly fullName: string;
}): RpcService<Client, Implementation> {
  return { name: definition.fullName, definition };
}

/** Every service of Berth, its definition tied to its client and implementation types. */
export const rpc = {
  control: service<scheduler.ControlServiceClient<CallExtra>, scheduler.ControlServiceImplementation<CallerContext>>(
    scheduler.ControlServiceDefinition,
  ),
  dispatch: service<scheduler.DispatchServiceClient<CallExtra>, scheduler.DispatchServiceImplementation<CallerContext>>(
    scheduler.DispatchServiceDefinition,
  ),
  join: service<registry.JoinServiceClient<CallExtra>, registry.JoinServiceImplementation<CallerContext>>(
    registry.JoinServiceDefinition,
  ),
  presence: service<registry.PresenceServiceClient<CallExtra>, registry.PresenceServiceImplementation<CallerContext>>(
    registry.PresenceServiceDefinition,
  ),
  catalog: service<registry.CatalogServiceClient<CallExtra>, registry.CatalogServiceImplementation<CallerContext>>(
    registry.CatalogServiceDefinition,
  ),
  node: service<registry.NodeServiceClient<CallExtra>, registry.NodeServiceImplementation<CallerContext>>(
    registry.NodeServiceDefinition,
  ),
  certificate: service<
    registry.CertificateServiceClient<CallExtra>,
    registry.CertificateServiceImplementation<CallerContext>
  >(registry.CertificateServiceDefinition),
  network: service<network.NetworkServiceClient<CallExtra>, network.NetworkServiceImplementation<CallerContext>>(
    network.NetworkServiceDefinition,
  ),
  runtime: service<agent.RuntimeServiceClient<CallExtra>, agent.RuntimeServiceImplementation<CallerContext>>(
    agent.RuntimeServiceDefinition,
  ),
  probe: service<agent.ProbeServiceClient<CallExtra>, agent.ProbeServiceImplementation<CallerContext>>(
    agent.ProbeServiceDefinition,
  ),
  signing: service<agent.SigningServiceClient<CallExtra>, agent.SigningServiceImplementation<CallerContext>>(
    agent.SigningServiceDefinition,
  ),
  setup: service<agent.SetupServiceClient<CallExtra>, agent.SetupServiceImplementation<CallerContext>>(
    agent.SetupServiceDefinition,
  ),
};

/** Version of the wire protocol that this build speaks; N and N-1 work together. */
export const protocolVersion = 1;
