/** The page with a bench's section replaced; everything outside the section's marks stays. Throws without the marks. */
export function recorded(page: string, name: string, text: string): string {
  const begin = `<!-- bench ${name} -->`;
  const end = `<!-- end ${name} -->`;
  const from = page.indexOf(begin);
  const to = page.indexOf(end);
  if (from < 0 || to < from) throw new Error(`docs/performance.md has no section between "${begin}" and "${end}"`);
  return `${page.slice(0, from + begin.length)}\n\n${text}\n\n${page.slice(to)}`;
}
