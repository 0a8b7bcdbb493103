/** What `npm start` leaves on the machine, so that `npm stop` can take it away. */
export const place = {
  /** State of the agent and, below it, of the control plane. */
  stateDir: '/var/lib/berth',
  agentContainer: 'berth-agent',
  /** Everything listens here. */
  address: '127.0.0.1',
  /** Context of the user's `berth` that speaks to it. */
  context: 'local',
  stack: 'guestbook',
  composeFile: 'examples/guestbook/compose.yaml',
  url: 'http://127.0.0.1:8080/',
  /** All that it listens on: the guestbook's port, then those of registry, scheduler, network-manager, agent, etcd, NATS. */
  ports: [8080, 7401, 7402, 7403, 7411, 7413, 7421, 7423, 7431, 7432, 7433, 7441, 7442, 7443, 7451, 7453],
} as const;

/** Where an agent is set up, by root. */
export function agentSocket(stateDir: string): string {
  return `${stateDir}/agent.sock`;
}
