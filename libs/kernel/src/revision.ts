/** Orders all changes of one owner within an epoch. Another epoch means: drop what you hold, never compare. */
export interface Revision {
  readonly epoch: string;
  readonly revision: number;
}

/** `other-epoch`, or how `a` stands to `b`. */
export function compareRevisions(a: Revision, b: Revision): 'older' | 'same' | 'newer' | 'other-epoch' {
  if (a.epoch !== b.epoch) return 'other-epoch';
  if (a.revision === b.revision) return 'same';
  return a.revision < b.revision ? 'older' : 'newer';
}
