import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { contentKey } from './cache.ts';
import type { ImageRecipe } from './catalogue.ts';
import { checkout, linkOrCopy } from './context.ts';
import type { Progress } from './debian-layers.ts';
import { canMakeLayers, layerKey, packageLayers, rootLayer } from './debian-layers.ts';
import type { ImageEngine } from './engine.ts';
import { ownLabel } from './engine.ts';

/** Where base images come from: a registry (the Dockerfiles' own defaults), or Debian packages on this machine. */
export type BaseSource = 'registry' | 'debian';

/** What a base made of Debian packages holds. */
export type BaseRecipe = Pick<ImageRecipe, 'packages' | 'node'>;

const nodePackage = join(checkout, 'node_modules/node');

export async function baseSource(wanted: BaseSource | undefined): Promise<BaseSource> {
  const set = wanted ?? process.env['BERTH_IMAGE_BASE'];
  if (set === 'registry' || set === 'debian') return set;
  if (set) throw new Error(`BERTH_IMAGE_BASE is ${set}; it may be registry or debian`);
  return (await canMakeLayers()) ? 'debian' : 'registry';
}

/** Names what images are based on, for the key of their content. */
export function baseKey({ packages, node }: BaseRecipe, source: BaseSource): string {
  return source === 'registry' ? source : contentKey([layerKey(packages), node ? nodeVersion() : '']);
}

/** Base images of Debian packages: the root, then Node.js, then packages, so that images share what they can. */
export class DebianBases {
  readonly #engine: ImageEngine;
  readonly #references: Set<string>;
  readonly #staging: string;
  readonly #onProgress: Progress;

  constructor(engine: ImageEngine, references: Set<string>, staging: string, onProgress: Progress) {
    this.#engine = engine;
    this.#references = references;
    this.#staging = staging;
    this.#onProgress = onProgress;
  }

  /** Makes these bases where the engine lacks them, and returns their references. */
  async make(recipes: readonly BaseRecipe[]): Promise<string[]> {
    const missing = recipes.filter((recipe) => !this.#references.has(referenceOf(recipe)));
    // All layers first, for they are made faster together.
    await packageLayers(missing.map(({ packages }) => packages).filter(isNotEmpty), this.#onProgress);
    for (const recipe of missing) await this.#ensure(recipe);
    return recipes.map(referenceOf);
  }

  async #ensure(recipe: BaseRecipe): Promise<string> {
    const reference = referenceOf(recipe);
    if (this.#references.has(reference)) return reference;
    const { packages, node } = recipe;
    if (isNotEmpty(packages)) {
      const [tar = ''] = await packageLayers([packages], this.#onProgress);
      await this.#extend(recipe, { packages: [], node }, tar, 'ADD', 'layer.tar', '/');
    } else if (node) {
      await this.#extend(recipe, { packages, node: false }, join(nodePackage, 'bin/node'), 'COPY', 'node', nodePath);
    } else {
      const change = [`LABEL ${ownLabel}=${baseKey(recipe, 'debian')}`, `ENV PATH=${path}`];
      const changes = change.flatMap((instruction) => ['--change', instruction]);
      await this.#engine.docker('import', ...changes, await rootLayer(this.#onProgress), reference);
    }
    this.#references.add(reference);
    return reference;
  }

  async #extend(
    recipe: BaseRecipe,
    from: BaseRecipe,
    file: string,
    instruction: 'ADD' | 'COPY',
    name: string,
    to: string,
  ): Promise<void> {
    const key = baseKey(recipe, 'debian');
    const context = join(this.#staging, `base-${key}`);
    mkdirSync(context);
    writeFileSync(join(context, 'Dockerfile'), `FROM ${await this.#ensure(from)}\n${instruction} ${name} ${to}\n`);
    linkOrCopy(file, join(context, name));
    const label = ['--label', `${ownLabel}=${key}`];
    await this.#engine.docker('build', '--quiet', ...label, '--tag', referenceOf(recipe), context);
  }
}

const path = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const nodePath = '/usr/local/bin/node';

function isNotEmpty(list: readonly string[]): boolean {
  return list.length > 0;
}

function referenceOf(recipe: BaseRecipe): string {
  return `berth/base:${baseKey(recipe, 'debian')}`;
}

/** The version stands for the binary, whose 120 MB would take long to read at every run. */
function nodeVersion(): string {
  return (JSON.parse(readFileSync(join(nodePackage, 'package.json'), 'utf8')) as { version: string }).version;
}
