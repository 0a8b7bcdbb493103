const headerBytes = 8;

/** Payload with its length and CRC-32 before it, so that a damaged or cut-off file is noticed. */
export function seal(payload: Uint8Array): Uint8Array {
  const sealed = new Uint8Array(headerBytes + payload.length);
  const header = new DataView(sealed.buffer);
  header.setUint32(0, payload.length);
  header.setUint32(4, crc32(payload));
  sealed.set(payload, headerBytes);
  return sealed;
}

/** The payload, or undefined if it is not what was sealed. */
export function unseal(sealed: Uint8Array): Uint8Array | undefined {
  if (sealed.length < headerBytes) return undefined;
  const header = new DataView(sealed.buffer, sealed.byteOffset, headerBytes);
  const payload = sealed.subarray(headerBytes);
  return header.getUint32(0) === payload.length && header.getUint32(4) === crc32(payload) ? payload : undefined;
}

/** CRC-32 as in IEEE 802.3, bit by bit: these files are small. */
function crc32(data: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of data) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}
