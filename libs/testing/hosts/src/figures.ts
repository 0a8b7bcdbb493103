/**
 * Keeps what a test measured, under names that hold the unit ("late ms"): `npm test` prints it, `npm run test:full`
 * writes it into docs/reports. Call it with the `task` of the test's context; a later call adds to an earlier one.
 */
export function recordFigures(
  task: { readonly meta: object },
  figures: Readonly<Record<string, string | number>>,
): void {
  const before = 'figures' in task.meta ? task.meta.figures : {};
  Object.assign(task.meta, { figures: { ...(before as object), ...figures } });
}
