export { type AgentContainerOptions, agentRunArguments, controlPlaneImages } from './agent-container.ts';
export { agentSocket } from './place.ts';
