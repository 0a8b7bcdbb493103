import { eventTypes } from './cloud-event.ts';
import { eventSubjects } from './subjects.ts';

/** A field, for people. */
export interface FieldDoc {
  readonly name: string;
  readonly type: string;
  readonly meaning: string;
}

const dataFields: readonly FieldDoc[] = [
  {
    name: 'epoch',
    type: 'string',
    meaning: 'Changes when the store is restored; drop what you hold of another epoch.',
  },
  { name: 'revision', type: 'integer', meaning: 'Revision of these changes; grows within an epoch.' },
  {
    name: 'prev',
    type: 'integer',
    meaning:
      "The scope's revision before this one, 0 for none. Not the one you hold: you missed something, read again.",
  },
  { name: 'scope', type: 'string', meaning: '`network.<id>`, `stack.<id>` or `node.<id>`.' },
  { name: 'part', type: 'integer', meaning: 'Number of this part, from 1: a large event comes in parts, in order.' },
  { name: 'parts', type: 'integer', meaning: 'How many parts the event has.' },
  { name: 'more', type: 'boolean', meaning: 'Resets only: more scopes are reset after this one. Absent: no.' },
  {
    name: 'changes',
    type: 'array',
    meaning:
      "Protobuf JSON of the owner's `Change`: `scopes`, `key`, and the new value under its kind; without a value it was deleted.",
  },
];

/** What docs/events.md is generated from. */
export const eventDocs = {
  attributes: [
    { name: 'specversion', type: 'string', meaning: 'Always "1.0".' },
    {
      name: 'id',
      type: 'string',
      meaning: 'Unique in the cluster: `<epoch>/<owner>/<revision>/<scope>[/reset][/part]`.',
    },
    { name: 'source', type: 'string', meaning: '`/berth/<owner>`.' },
    { name: 'type', type: 'string', meaning: `\`${eventTypes.changes}\` or \`${eventTypes.reset}\`.` },
    { name: 'subject', type: 'string', meaning: 'The scope.' },
    { name: 'datacontenttype', type: 'string', meaning: 'Always "application/json".' },
  ] satisfies readonly FieldDoc[],
  types: [
    { type: eventTypes.changes, meaning: 'All changes of one scope at one revision.', data: dataFields },
    {
      type: eventTypes.reset,
      meaning:
        'History was lost before it was published. `changes` is the whole of the scope as it stands: drop what you hold of it.',
      data: dataFields,
    },
  ],
  head: [
    { name: 'owner', type: 'string', meaning: 'Whose scope it is.' },
    { name: 'epoch', type: 'string', meaning: 'As above.' },
    { name: 'scope', type: 'string', meaning: 'As above.' },
    { name: 'revision', type: 'integer', meaning: "The scope's newest revision." },
  ] satisfies readonly FieldDoc[],
  beacon: [
    { name: 'owner', type: 'string', meaning: 'Who publishes.' },
    { name: 'epoch', type: 'string', meaning: 'As above.' },
    { name: 'publishedUpTo', type: 'integer', meaning: 'All changes up to this revision have been published.' },
  ] satisfies readonly FieldDoc[],
  /** Subjects of an owner, with `<kind>` and `<id>` for a scope's tokens. */
  subjects: (owner: string): { readonly subject: string; readonly carries: string }[] => {
    const subjects = eventSubjects(owner);
    const scope = (subject: string): string => subject.replace('KIND', '<kind>').replace('ID', '<id>');
    return [
      {
        subject: scope(subjects.changes('KIND.ID')),
        carries: 'Change events of a scope, as CloudEvents 1.0 in structured JSON; kept in the log.',
      },
      {
        subject: scope(subjects.head('KIND.ID')),
        carries: "A scope's newest revision, repeated 1, 2, 4, 8 and 16 s after each change; not kept.",
      },
      { subject: subjects.beacon, carries: 'A sign of life each second; not kept.' },
    ];
  },
} as const;
