/** An image that deploy/images can make. */
export interface ImageRecipe {
  /** Its name without a tag. */
  readonly name: string;
  /** Folder of its Dockerfile and the files beside it, from the checkout's root. */
  readonly folder: string;
  /** Debian packages that its base holds where no registry is used. */
  readonly packages: readonly string[];
  /** Its base also holds Node.js. */
  readonly node: boolean;
  /** App to bundle into the image's context, as `app/`. */
  readonly app?: string;
  /** Files of the checkout that go into the context under the same path. */
  readonly files?: readonly string[];
  /** Tags besides the one that names its content. */
  readonly tags: readonly string[];
  /**
   * True: made only so that Compose files with a public image's name run where that can't be fetched; an image that
   * has this name already is left alone.
   */
  readonly standIn: boolean;
}

const apps: ImageRecipe[] = ['scheduler', 'registry', 'network-manager', 'bootstrap', 'host-agent', 'cli'].map(
  (app) => ({
    name: `berth/${app}`,
    folder: `deploy/images/${app}`,
    packages: app === 'host-agent' ? ['nftables', 'iptables', 'iproute2', 'conntrack'] : [],
    node: true,
    app: `apps/${app}`,
    files: app === 'host-agent' ? ['deploy/compose/control-plane.yaml'] : [],
    tags: ['dev'],
    standIn: false,
  }),
);

const servers: ImageRecipe[] = [
  own('berth/etcd', 'deploy/images/etcd', ['etcd-server', 'etcd-client']),
  own('berth/nats', 'deploy/images/nats', ['nats-server']),
];

const examples: ImageRecipe[] = [{ ...own('berth/guestbook', 'examples/guestbook/web', []), node: true }];

const standIns: ImageRecipe[] = [
  standIn('redis', ['redis-server', 'redis-tools'], ['7', '7-bookworm', 'latest']),
  standIn('nginx', ['nginx'], ['1', 'latest']),
  standIn('busybox', ['busybox'], ['latest']),
];

export const catalogue: readonly ImageRecipe[] = [...apps, ...servers, ...examples, ...standIns];

/** What a control plane and its agents consist of. */
export const productImages: readonly string[] = [...apps, ...servers].map(({ name }) => name);

/** What examples/guestbook needs. */
export const guestbookImages: readonly string[] = ['berth/guestbook', 'redis:7'];

export interface WantedImage {
  readonly recipe: ImageRecipe;
  readonly tags: readonly string[];
}

/** The recipe of `name` (with all its tags) or of `name:tag`. */
export function findImage(reference: string): WantedImage {
  const [name, tag] = reference.split(':');
  const recipe = catalogue.find((each) => each.name === name && (tag === undefined || each.tags.includes(tag)));
  if (!recipe) {
    const known = catalogue.map((each) => `${each.name}:{${each.tags.join(',')}}`).join(' ');
    throw new Error(`no recipe for an image ${reference}; there are ${known}`);
  }
  return { recipe, tags: tag === undefined ? recipe.tags : [tag] };
}

function own(name: string, folder: string, packages: readonly string[]): ImageRecipe {
  return { name, folder, packages, node: false, tags: ['dev'], standIn: false };
}

function standIn(name: string, packages: readonly string[], tags: readonly string[]): ImageRecipe {
  return { name, folder: `deploy/images/stand-ins/${name}`, packages, node: false, tags, standIn: true };
}
