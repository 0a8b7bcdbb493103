/** Besides the leader. */
const helpersMax = 2;
/** A node is probed by no more nodes than these, in turn: each costs the leader a connection. */
const circleMax = 6;

/**
 * Who else is asked to probe a node: two ready nodes, on other hosts than the leader's (a manager's) where there are any,
 * others in each round. So neither one bad path nor one bad prober makes a node look gone.
 */
export function chooseProbers(
  target: string,
  ready: readonly { readonly nodeId: string; readonly manager: boolean }[],
  round: number,
): string[] {
  const others = ready.filter(({ nodeId }) => nodeId !== target);
  const ring = (managers: boolean): string[] => {
    const ids = others
      .filter(({ manager }) => manager === managers)
      .map(({ nodeId }) => nodeId)
      .sort();
    // Begins behind the target, so that many targets at once are not all probed by the same two.
    const behind = Math.max(
      0,
      ids.findIndex((id) => id > target),
    );
    const circle = rotated(ids, behind).slice(0, circleMax);
    return rotated(circle, round * helpersMax);
  };
  return [...ring(false), ...ring(true)].slice(0, helpersMax);
}

function rotated(ids: readonly string[], by: number): string[] {
  const start = ids.length === 0 ? 0 : by % ids.length;
  return [...ids.slice(start), ...ids.slice(0, start)];
}
