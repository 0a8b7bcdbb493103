import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const main = join(import.meta.dirname, '../../apps/cli/src/main.ts');
const root = join(import.meta.dirname, '../..');

/** Runs the `berth` command as a user would, to its end; rejects when it fails. Returns its standard output. */
export function berth(
  args: readonly string[],
  options: { readonly onLine?: (line: string) => void } = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [main, ...args], { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    const said: string[] = [];
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    createInterface({ input: child.stderr }).on('line', (line) => {
      said.push(line);
      options.onLine?.(line.trim());
    });
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve(stdout);
      else reject(new Error(`berth ${args.join(' ')} ended with ${code}:\n${said.slice(-20).join('\n')}\n${stdout}`));
    });
  });
}
