import type { BaseSource } from './bases.ts';
import { baseKey, baseSource, DebianBases } from './bases.ts';
import type { ImageRecipe } from './catalogue.ts';
import { catalogue, findImage } from './catalogue.ts';
import { imageKey, inStagingFolder, stage } from './context.ts';
import type { Progress } from './debian-layers.ts';
import { packageLayers, rootLayer } from './debian-layers.ts';
import { ImageEngine, ownLabel } from './engine.ts';

export interface BuildOptions {
  /** What to make: `name` for all its tags or `name:tag`, as in the catalogue. */
  readonly images: readonly string[];
  /** Engine to make them in. Default: the docker client's own. */
  readonly dockerHost?: string;
  /** Default: BERTH_IMAGE_BASE, else Debian packages where they can be had, else a registry. */
  readonly source?: BaseSource;
  readonly onProgress?: Progress;
}

export interface BuiltImage {
  /** `name:key`: the same content has the same reference. */
  readonly reference: string;
  /** False: the engine had it already. */
  readonly built: boolean;
}

/** Makes the images that are missing or whose inputs changed, and gives them their tags. */
export async function buildImages(options: BuildOptions): Promise<BuiltImage[]> {
  const { onProgress = () => undefined } = options;
  const engine = new ImageEngine(options.dockerHost);
  const source = await baseSource(options.source);
  return inStagingFolder(async (staging) => {
    const images = await stageAll(options.images, source, staging);
    const references = await engine.references();
    const missing = images.filter(({ reference }) => !references.has(reference));
    const recipes = missing.map(({ recipe }) => recipe);
    const bases =
      source === 'debian'
        ? await new DebianBases(engine, new Set(references.keys()), staging, onProgress).make(recipes)
        : [];
    for (const [index, image] of missing.entries()) {
      onProgress(`image ${image.recipe.name}`);
      await build(engine, image, bases[index]);
    }
    for (const image of images) await nameImage(engine, references, image);
    return images.map((image) => ({ reference: image.reference, built: missing.includes(image) }));
  });
}

/** Downloads what images of Debian packages need, so that {@link buildImages} does without a network. */
export async function prefetchLayers(onProgress: Progress = () => undefined): Promise<void> {
  if ((await baseSource(undefined)) !== 'debian') return;
  await rootLayer(onProgress);
  const lists = catalogue.map(({ packages }) => packages).filter((packages) => packages.length > 0);
  await packageLayers(lists, onProgress);
}

/** The references that {@link buildImages} would return, without an engine: they change when any input does. */
export async function imageReferences(images: readonly string[], source?: BaseSource): Promise<string[]> {
  const from = await baseSource(source);
  return inStagingFolder(async (staging) => (await stageAll(images, from, staging)).map(({ reference }) => reference));
}

/** Removes every image made here, by whatever checkout, that no container uses. */
export async function removeImages(dockerHost?: string): Promise<void> {
  const engine = new ImageEngine(dockerHost);
  for (const reference of await engine.ownReferences()) await engine.removeReference(reference);
}

interface StagedImage {
  readonly recipe: ImageRecipe;
  /** To be given to the image besides its reference. */
  readonly tags: readonly string[];
  /** Folder with the Dockerfile and all that goes into the image. */
  readonly context: string;
  readonly repository: string;
  readonly key: string;
  readonly reference: string;
}

function stageAll(images: readonly string[], source: BaseSource, staging: string): Promise<StagedImage[]> {
  return Promise.all(
    images.map(async (image) => {
      const { recipe, tags } = findImage(image);
      const context = await stage(recipe, staging);
      const key = imageKey(context, baseKey(recipe, source));
      // A stand-in's content must not look like a version of the public image.
      const repository = recipe.standIn ? `berth/stand-in-${recipe.name}` : recipe.name;
      return { recipe, tags, context, repository, key, reference: `${repository}:${key}` };
    }),
  );
}

async function build(engine: ImageEngine, image: StagedImage, base: string | undefined): Promise<void> {
  const from = base === undefined ? [] : ['--build-arg', `BASE=${base}`];
  const label = ['--label', `${ownLabel}=${image.key}`];
  await engine.docker('build', '--quiet', ...label, ...from, '--tag', image.reference, image.context);
}

/** Gives an image its tags and takes those of its earlier contents away, with which these go. */
async function nameImage(
  engine: ImageEngine,
  references: ReadonlyMap<string, string>,
  image: StagedImage,
): Promise<void> {
  for (const tag of image.tags) {
    const name = `${image.recipe.name}:${tag}`;
    const id = references.get(image.reference);
    if (id !== undefined && references.get(name) === id) continue;
    if (image.recipe.standIn && references.has(name) && !(await engine.isOwn(name))) continue;
    await engine.docker('image', 'tag', image.reference, name);
  }
  const keep = [image.key, ...image.recipe.tags];
  for (const reference of references.keys()) {
    const [repository, tag = ''] = reference.split(':');
    if (repository === image.repository && !keep.includes(tag)) await engine.removeReference(reference);
  }
}
