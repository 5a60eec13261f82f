/** Ethernet addresses (IEEE 802 MAC-48) as values: canonical lower-case text, branded. */

export type Mac = string & { readonly __brand: 'Mac' };

/** Parses `70:B3:D5:80:00:01`; `undefined` when it is not six colon-separated hex bytes. */
export function parseMac(text: string): Mac | undefined {
  return /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(text) ? (text.toLowerCase() as Mac) : undefined;
}

/** The six bytes, network order. */
export function macBytes(mac: Mac): Uint8Array {
  return Uint8Array.from(mac.split(':'), (byte) => Number.parseInt(byte, 16));
}

/** Reads a MAC from six bytes at `offset`. */
export function macFromBytes(bytes: Uint8Array, offset = 0): Mac {
  let text = '';
  for (let i = 0; i < 6; i++)
    text += (i > 0 ? ':' : '') + (bytes[offset + i] ?? 0).toString(16).padStart(2, '0');
  return text as Mac;
}
