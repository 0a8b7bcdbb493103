import { expect, it } from 'vitest';
import { agentRunArguments } from './agent-container.ts';

const socketArguments = (dockerHost: string | undefined): string[] =>
  agentRunArguments({ dockerHost, name: 'berth-agent', stateDir: '/s', image: 'i', environment: {} }).filter((word) =>
    word.includes('/host/engine'),
  );

it.for([
  [undefined, '/var/run', 'docker.sock'],
  ['unix:///run/berth-dev/docker.sock', '/run/berth-dev', 'docker.sock'],
  ['unix:///engine.sock', '/', 'engine.sock'],
] as const)(
  "the agent is given the folder of the engine's socket (%s), not the file that ends with the engine",
  ([dockerHost, folder, file]) => {
    expect(socketArguments(dockerHost)).toEqual([
      `type=bind,source=${folder},target=/host/engine,readonly,bind-nonrecursive`,
      `BERTH_DOCKER_SOCKET=/host/engine/${file}`,
    ]);
  },
);
