/** Small files of a process's own state folder. Names are relative, `/`-separated. */
export interface Disk {
  /** The content, or undefined. */
  read(name: string): Promise<Uint8Array | undefined>;
  /** Replaces the file whole or not at all (write, fsync, rename), also across a power loss. `mode` defaults to 0600.
   *  Unavailable with reason DISK when the file system refuses: full, read-only, out of handles. */
  write(name: string, data: Uint8Array, options?: { readonly mode?: number }): Promise<void>;
  remove(name: string): Promise<void>;
  list(folder: string): Promise<readonly string[]>;
}
