/** The range that etcd calls a prefix: `[start, end)`, where `end` is the prefix with its last byte one higher. */
export function rangeOf(prefix: string): { readonly key: Buffer; readonly range_end: Buffer } {
  const key = Buffer.from(prefix);
  const end = Buffer.from(prefix);
  for (let i = end.length - 1; i >= 0; i--) {
    const byte = end[i] as number;
    if (byte < 0xff) {
      end[i] = byte + 1;
      return { key, range_end: end.subarray(0, i + 1) };
    }
  }
  // No end: all keys from there on. The empty prefix is all keys.
  return { key: key.length > 0 ? key : Buffer.from([0]), range_end: Buffer.from([0]) };
}

/** The key right after `key`: where the next page begins. */
export function after(key: Buffer): Buffer {
  return Buffer.concat([key, Buffer.from([0])]);
}
