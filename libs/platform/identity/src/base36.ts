/** A number of big-endian bytes in base 36, padded with zeros on the left to `length` characters. */
export function toBase36(bytes: Uint8Array, length: number): string {
  let number = 0n;
  for (const byte of bytes) number = (number << 8n) | BigInt(byte);
  return number.toString(36).padStart(length, '0');
}

/** Undoes `toBase36`; undefined for text that is no base 36 or does not fit into `length` bytes. */
export function fromBase36(text: string, length: number): Uint8Array | undefined {
  if (!/^[0-9a-z]+$/u.test(text)) return undefined;
  let number = 0n;
  for (const digit of text) number = number * 36n + BigInt(Number.parseInt(digit, 36));
  const bytes = new Uint8Array(length);
  for (let at = length - 1; at >= 0; at -= 1) {
    bytes[at] = Number(number & 0xffn);
    number >>= 8n;
  }
  return number === 0n ? bytes : undefined;
}
