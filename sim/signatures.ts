/**
 * Signatures as long as real ones and as good as none: who knows the writer's key is not asked, as simulated liars do not
 * make any. A real signature costs a tenth of a millisecond to verify, which a thousand nodes in one process would feel.
 */
import { hashHex, hashText } from '../src/gossip/hash.ts';
import type { Authenticator, Authenticity } from '../src/trust/authenticity.ts';

const CHARACTERS = 86;
const genuine: Authenticity = { is: 'genuine' };
const forged: Authenticity = { is: 'forged', reason: "its signature is not its writer's" };

export function simulatedSignature(text: string): string {
  return hashHex(hashText(text)).repeat(6).slice(0, CHARACTERS);
}

export const simulatedSignatures: Authenticator & { introduction(): undefined } = {
  sign: (_, text) => simulatedSignature(text),
  judge: ({ signature }, text) => (signature === simulatedSignature(text) ? genuine : forged),
  introduction: () => undefined,
};
