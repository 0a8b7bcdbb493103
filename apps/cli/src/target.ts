import type { Session } from './session.ts';

/** A stack, a service of one, or a task: what commands that reach into tasks work on. */
export interface Target {
  readonly namespace: string;
  readonly stack: string;
  readonly service: string;
  readonly taskId: string;
}

/** What a name means is looked up, in this order: a stack, `stack_service`, a task. NotFound if it is none of them. */
export async function findTarget(control: Session['control'], text: string, namespace: string): Promise<Target> {
  const { stacks } = await control.listStacks({ namespace });
  if (stacks.some((stack) => stack.name === text)) return { namespace, stack: text, service: '', taskId: '' };
  const { services } = await control.listServices({ namespace, stack: '' });
  const service = services.find((candidate) => `${candidate.stack}_${candidate.name}` === text);
  if (service) return { namespace, stack: service.stack, service: service.name, taskId: '' };
  const { task } = await control.explainTask({ task: text });
  return { namespace, stack: '', service: '', taskId: task?.task?.id ?? '' };
}
