import type { ChangeLike, WatchAnswer } from './change.ts';

/** A Watch without what its reader does not need: only resources of these kinds (the part of the key before the first `/`). */
export async function* onlyKinds<C extends ChangeLike>(
  answers: AsyncIterable<WatchAnswer<C>>,
  kinds: readonly string[],
): AsyncGenerator<WatchAnswer<C>> {
  const prefixes = kinds.map((kind) => `${kind}/`);
  for await (const answer of answers) {
    const changes = answer.changes.filter(({ key }) => prefixes.some((prefix) => key.startsWith(prefix)));
    yield { ...answer, changes };
  }
}
