/** Where simulated hosts are. */

export const PORT = 62_501;

export function hostAddress(index: number): string {
  return `10.${20 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}`;
}
