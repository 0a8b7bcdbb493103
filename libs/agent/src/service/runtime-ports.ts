/** What a container has used since it started, and uses now. */
export interface UsageReading {
  /** Nanoseconds of all cores. */
  readonly cpuNs: number;
  /** Without the page cache. */
  readonly memoryBytes: number;
  readonly memoryLimitBytes: number;
  readonly networkReceivedBytes: number;
  readonly networkSentBytes: number;
  readonly diskReadBytes: number;
  readonly diskWrittenBytes: number;
  /** Processes and threads. */
  readonly processes: number;
}

/** Looks into containers for people. Errors as of the ContainerRuntime; NotFound if there is no such container. */
export interface ContainerReader {
  /** The engine's own description; of the environment only the names. */
  details(id: string): Promise<object>;
  usage(id: string): Promise<UsageReading>;
}

/** An image that was loaded. */
export interface LoadedImage {
  /** Name with tag; empty if it has none. */
  readonly name: string;
  readonly id: string;
  /** It was here before under this name. */
  readonly present: boolean;
}

/** Images of the engine as archives. */
export interface ImageArchives {
  /**
   * Reads an archive as `docker save` writes it, at the engine's pace. An archive that ends in an error leaves no image.
   * InvalidArgument if the engine can't read it.
   */
  load(archive: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<readonly LoadedImage[]>;
  /** The archive of an image, by name (without a tag: `latest`) or id. NotFound, before the first piece, if it is not here. */
  save(name: string, signal: AbortSignal): AsyncIterable<Uint8Array>;
}
