// node tools/build/bundle.ts apps/<app> <out>: one file per process, as the images carry it: <out>/lib/main.js beside the
// .proto files that two vendors read at run time relative to their own code.
import { cpSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { build } from 'esbuild';

const root = resolve(import.meta.dirname, '../..');

/** Protos that vendors load from disk, and where their bundled code looks for them. */
const runtimeFiles = [
  { vendor: 'etcd3', from: 'node_modules/etcd3/proto', to: 'proto' },
  { vendor: 'dockerode', from: 'node_modules/dockerode/lib/proto', to: 'lib/proto' },
];

const [app, out] = process.argv.slice(2);
if (app === undefined || out === undefined) throw new Error('usage: bundle.ts apps/<app> <out>');
rmSync(join(root, out), { recursive: true, force: true });
const { metafile } = await build({
  absWorkingDir: root,
  entryPoints: [join(app, 'src/main.ts')],
  outfile: join(out, 'lib/main.js'),
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node24',
  minifySyntax: true,
  sourcemap: 'linked',
  metafile: true,
  logLevel: 'warning',
  // Optional native parts of ssh2 (Docker over SSH), which Berth never uses.
  external: ['*.node', 'cpu-features'],
  // CommonJS vendors inside an ES module need these three.
  banner: {
    js: [
      "import { createRequire as berthCreateRequire } from 'node:module';",
      'const require = berthCreateRequire(import.meta.url);',
      'const __dirname = import.meta.dirname, __filename = import.meta.filename;',
    ].join('\n'),
  },
  // esbuild has said what is wrong, with file and line.
}).catch(() => process.exit(1));
const inputs = Object.keys(metafile.inputs);
for (const { vendor, from, to } of runtimeFiles) {
  if (inputs.some((path) => path.startsWith(`node_modules/${vendor}/`))) {
    cpSync(join(root, from), join(root, out, to), { recursive: true });
  }
}
