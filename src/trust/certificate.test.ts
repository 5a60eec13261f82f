import { execFileSync } from 'node:child_process';
import { createPrivateKey, createPublicKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { realRandom } from '../base/random.ts';
import { isSignedBy, issueNode, nodeNameOf, validityOf } from './certificate.ts';
import { renewalTime } from './credentials.ts';
import { der } from './der.ts';
import { aroundNow, testAuthority, testCredentials } from './fake.ts';
import { isProven, newPrivateKey, parsePublicKey, proveKey, publicKeyOf } from './keys.ts';
import { verifyPeer } from './verify.ts';

const authority = testAuthority();
const shown = (pem: string): X509Certificate => new X509Certificate(pem);

describe('a certificate', () => {
  it('names cluster, role and node, and is signed by the authority alone', () => {
    const credentials = testCredentials(authority, { role: 'master' });
    const certificate = shown(credentials.certificate);
    expect(nodeNameOf(certificate)).toEqual(credentials.name);
    expect(isSignedBy(certificate, shown(authority.certificate))).toBe(true);
    expect(isSignedBy(certificate, shown(testAuthority(authority.cluster).certificate))).toBe(false);
    expect([certificate.ca, shown(authority.certificate).ca]).toEqual([false, true]);
    expect(certificate.checkPrivateKey(createPrivateKey(credentials.key))).toBe(true);
    expect(nodeNameOf(shown(authority.certificate))).toBeUndefined();
  });

  it('passes the strict checks of openssl, as client and as server', async () => {
    if (!existsSync('/usr/bin/openssl')) return;
    const dir = await mkdtemp(join(tmpdir(), 'portolan-trust-'));
    try {
      await writeFile(join(dir, 'ca.pem'), authority.certificate);
      await writeFile(join(dir, 'node.pem'), testCredentials(authority).certificate);
      for (const purpose of ['sslclient', 'sslserver']) {
        const argv = ['verify', '-x509_strict', '-purpose', purpose, '-CAfile', 'ca.pem', 'node.pem'];
        expect(execFileSync('openssl', argv, { cwd: dir, encoding: 'utf8' })).toBe('node.pem: OK\n');
      }
    } finally {
      await rm(dir, { recursive: true });
    }
  });

  it('says times as they were given, past 2050 too, and never outlives its authority', () => {
    const whole = (ms: number): number => Math.floor(ms / 1000) * 1000;
    const { validity } = testCredentials(authority);
    expect(validity).toEqual({ notBefore: whole(aroundNow.notBefore), notAfter: whole(aroundNow.notAfter) });
    const long = testCredentials(authority, {
      validity: { notBefore: Date.UTC(1999, 11, 31, 23, 59, 59), notAfter: Date.UTC(2070, 0, 1) },
    });
    expect(long.validity).toEqual({
      notBefore: Date.UTC(1999, 11, 31, 23, 59, 59),
      notAfter: whole(aroundNow.notAfter),
    });
    const far = { notBefore: Date.UTC(2049, 11, 31, 23, 59, 59), notAfter: Date.UTC(2050, 0, 1) };
    const name = testCredentials(authority).name;
    const publicKey = createPublicKey(authority.key);
    const pem = issueNode(realRandom, authority, { name, publicKey, validity: far });
    expect(validityOf(shown(pem)).notBefore).toBe(far.notBefore);
  });

  it('is renewed after two thirds of its life', () => {
    expect(renewalTime({ notBefore: 0, notAfter: 300 })).toBe(200);
  });
});

describe('verifyPeer', () => {
  const own = testCredentials(authority);
  const DAY_MS = 86_400_000;
  const verdict = (pem: string | undefined, wallMs = Date.now()) =>
    verifyPeer(pem === undefined ? undefined : shown(pem), own, wallMs);

  it('accepts a node of its own cluster, and tells of all others why not', () => {
    const other = testCredentials(authority);
    expect(verdict(other.certificate)).toEqual({ peer: other.name });
    expect(verdict(undefined)).toMatchObject({ refused: 'no-certificate' });
    expect(verdict(testCredentials(testAuthority()).certificate)).toMatchObject({ refused: 'not-ours' });
    expect(verdict(authority.certificate)).toMatchObject({ refused: 'no-node' });
    // An authority that signs for a cluster that is not its own.
    const strayed = testCredentials({ ...authority, cluster: testAuthority().cluster });
    expect(verdict(strayed.certificate)).toMatchObject({ refused: 'not-ours' });
  });

  it('tells of clocks that differ', () => {
    const { certificate, name } = testCredentials(authority);
    expect(verdict(certificate, Date.now() - 365 * DAY_MS)).toMatchObject({
      refused: 'not-yet-valid',
      reason: expect.stringMatching(/begins at .*this host's clock says .*clocks is wrong/) as string,
      was: name,
    });
    const late = Math.ceil(Date.now() / DAY_MS) * DAY_MS + 365 * DAY_MS;
    expect(verdict(certificate, late)).toMatchObject({ refused: 'expired', was: name });
    // Log lines of the same reason are told once.
    expect(verdict(certificate, late + 7_300)).toEqual(verdict(certificate, late));
  });
});

describe('keys', () => {
  it('prove that their holder asks, for this purpose', () => {
    const key = newPrivateKey();
    const publicKey = parsePublicKey(publicKeyOf(key));
    const proof = proveKey(key, 'join a');
    expect(isProven(publicKey, 'join a', proof)).toBe(true);
    expect(isProven(publicKey, 'join b', proof)).toBe(false);
    expect(isProven(parsePublicKey(publicKeyOf(newPrivateKey())), 'join a', proof)).toBe(false);
    expect(isProven(publicKey, 'join a', 'no signature')).toBe(false);
  });

  it('are of one kind', () => {
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey;
    const others = [rsa.export({ type: 'spki', format: 'pem' }).toString(), 'no key', newPrivateKey(), ''];
    for (const pem of others) expect(() => parsePublicKey(pem)).toThrow('not one of P-256');
  });
});

describe('der', () => {
  it('writes lengths, integers and object identifiers as X.690 says', () => {
    const hex = (bytes: Buffer): string => bytes.toString('hex');
    expect(hex(der.integer(Buffer.from([0, 0, 0x80])))).toBe('02020080');
    expect(hex(der.integer(Buffer.from([0, 0])))).toBe('020100');
    expect(hex(der.oid('1.2.840.10045.4.3.2'))).toBe('06082a8648ce3d040302');
    expect(hex(der.octetString(Buffer.alloc(0x80))).slice(0, 6)).toBe('048180');
    expect(hex(der.octetString(Buffer.alloc(0x1234))).slice(0, 8)).toBe('04821234');
    expect(hex(der.bitString(Buffer.from([0b100]), 2))).toBe('03020204');
    expect(hex(der.true())).toBe('0101ff');
  });

  it('gives integers that OpenSSL reads back, whatever their bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
        const random = { next: () => 0, bytes: () => bytes };
        const publicKey = createPublicKey(authority.key);
        const { name } = testCredentials(authority);
        const pem = issueNode(random, authority, { name, publicKey, validity: aroundNow });
        expect(shown(pem).serialNumber).toHaveLength(32);
      }),
      { numRuns: 50 },
    );
  });
});
