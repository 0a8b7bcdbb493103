/** So many services of so many replicas each; each service has a network of its own, all replicas of it are on. */
export interface Load {
  readonly name: string;
  readonly services: number;
  readonly replicas: number;
}

/** Whoever brings a load up on the lab's hosts. */
export interface Contender {
  readonly name: string;
  /** Label that its containers carry. */
  readonly label: string;
  /** Name at which a service is found from its network; undefined: this one gives no names. */
  nameOf(service: string): string | undefined;
  /** The service that a container belongs to, by its labels. */
  serviceOf(labels: Readonly<Record<string, string>>): string;
  /** What may be ready before the clock runs. */
  prepare(load: Load): Promise<void>;
  /** Asks for the load. Resolves when it is asked for, or later; the bench sees for itself when it is there. */
  up(load: Load): Promise<void>;
  /** Asks for none of it. */
  zero(load: Load): Promise<void>;
  /** Removes what is left, outside the clock. */
  clean(load: Load): Promise<void>;
}

export const image = 'busybox:latest';
export const command = ['sleep', '100000'];

export function serviceNames({ services }: Load): string[] {
  return Array.from({ length: services }, (_, i) => `s${i + 1}`);
}
