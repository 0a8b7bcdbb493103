import { run, tryRun } from '../system/run.ts';

/** The Docker Engine in which images are made. */
export class ImageEngine {
  readonly #docker: readonly string[];

  /** For example `unix:///var/run/docker.sock`; undefined: the one that the docker client uses by itself. */
  constructor(dockerHost?: string) {
    this.#docker = dockerHost === undefined ? ['docker'] : ['docker', '--host', dockerHost];
  }

  docker(...args: readonly string[]): Promise<string> {
    return run([...this.#docker, ...args]);
  }

  /** Every `name:tag` that the engine has, with the image's id. */
  async references(): Promise<Map<string, string>> {
    const listed = await this.docker('image', 'ls', '--no-trunc', '--format', '{{.Repository}}:{{.Tag}} {{.ID}}');
    const pairs = listed
      .split('\n')
      .filter(Boolean)
      .map((line) => line.split(' '));
    return new Map(pairs.map(([reference = '', id = '']) => [reference, id]));
  }

  /** True when the image was made by this script. */
  async isOwn(reference: string): Promise<boolean> {
    const format = `{{index .Config.Labels "${ownLabel}"}}`;
    const { code, stdout } = await tryRun([...this.#docker, 'image', 'inspect', '--format', format, reference]);
    return code === 0 && stdout.trim() !== '';
  }

  /** Every name of an image made by this script, or its id where it has none. */
  async ownReferences(): Promise<string[]> {
    const filter = ['--filter', `label=${ownLabel}`];
    const listed = await this.docker('image', 'ls', ...filter, '--format', '{{.Repository}}:{{.Tag}} {{.ID}}');
    return listed
      .split('\n')
      .filter(Boolean)
      .map((line) => line.split(' '))
      .map(([name = '', id = '']) => (name.includes('<none>') ? id : name));
  }

  /** Removes a name; the image goes with its last name. False: a container still uses it. */
  async removeReference(reference: string): Promise<boolean> {
    return (await tryRun([...this.#docker, 'image', 'rm', reference])).code === 0;
  }
}

/** On every image made here; its value is the content's key. */
export const ownLabel = 'io.berth.image';
