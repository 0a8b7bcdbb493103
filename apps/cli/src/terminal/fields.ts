/** A value as indented `key: value` lines, for people; what is empty is left out. */
export function fieldsText(value: object, indent = ''): string {
  const lines: string[] = [];
  for (const [key, field] of Object.entries(value)) {
    if (isEmpty(field)) continue;
    if (Array.isArray(field)) {
      const plain = field.every((item) => typeof item !== 'object' || item === null);
      if (plain) lines.push(`${indent}${key}: ${field.join(', ')}`);
      else lines.push(`${indent}${key}:`, ...field.map((item) => itemText(item, indent)));
    } else if (typeof field === 'object') lines.push(`${indent}${key}:`, fieldsText(field as object, `${indent}  `));
    else lines.push(`${indent}${key}: ${String(field)}`);
  }
  return lines.join('\n');
}

function itemText(item: unknown, indent: string): string {
  if (typeof item !== 'object' || item === null) return `${indent}  - ${String(item)}`;
  const text = fieldsText(item, `${indent}    `);
  return `${indent}  - ${text.slice(indent.length + 4)}`;
}

function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null || value === '') return true;
  return typeof value === 'object' && Object.values(value).every(isEmpty);
}
