import { setTimeout as sleep } from 'node:timers/promises';

/** Waits in real time until the condition holds; throws with what `describe` says when it does not within `withinMs`. */
export async function eventually(
  condition: () => boolean | Promise<boolean>,
  options: { readonly withinMs?: number; readonly describe?: () => unknown } = {},
): Promise<void> {
  const { withinMs = 10_000, describe } = options;
  const deadline = performance.now() + withinMs;
  while (!(await condition())) {
    if (performance.now() > deadline) {
      throw new Error(`still not so after ${withinMs} ms: ${condition}; ${JSON.stringify(describe?.())}`);
    }
    await sleep(10);
  }
}
