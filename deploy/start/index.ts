export { controlPlaneImages } from './agent-container.ts';
export { agentSocket } from './place.ts';
