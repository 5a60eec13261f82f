import { describe, expect, test } from 'vitest';
import { PortolanError } from '../base/errors.ts';
import { CniError, cniCodes } from '../cni/errors.ts';
import { encodeWireRequest } from '../cni/wire.ts';
import { KernelError } from '../kernel/types.ts';
import { answerRequest, type CniVerbs } from './cni-answer.ts';

const result = {
  interfaces: [{ name: 'eth0', sandbox: '/run/netns/x' }],
  ips: [{ address: '9.0.1.3/25', gateway: '9.0.1.1', interface: 0 }],
  routes: [],
  dns: {},
};

function verbs(failure?: unknown): CniVerbs {
  const answer = <T>(value: T): Promise<T> =>
    failure === undefined ? Promise.resolve(value) : Promise.reject(failure as Error);
  return {
    add: () => answer(result),
    del: () => answer(undefined),
    check: () => answer(undefined),
    gc: () => answer(undefined),
    status: () => answer(undefined),
  };
}

function requestOf(command: string, config: Record<string, unknown> = {}): string {
  return encodeWireRequest({
    environment: {
      CNI_COMMAND: command,
      CNI_CONTAINERID: 'c1',
      CNI_NETNS: '/run/netns/x',
      CNI_IFNAME: 'eth0',
      CNI_PATH: '/opt/cni/bin',
    },
    stdin: JSON.stringify({ cniVersion: '1.1.0', name: 'dcos', ...config }),
  });
}

describe('the answer to a plug-in', () => {
  test('ADD prints the result in the version asked for and ends with 0', async () => {
    const answered = await answerRequest(verbs(), requestOf('ADD', { cniVersion: '0.2.0' }));
    expect(answered.exitCode).toBe(0);
    expect(JSON.parse(answered.stdout)).toEqual({
      cniVersion: '0.2.0',
      ip4: { ip: '9.0.1.3/25', gateway: '9.0.1.1', routes: [] },
      dns: {},
    });
  });
  test('DEL, CHECK, GC and STATUS print nothing on success', async () => {
    for (const command of ['DEL', 'CHECK', 'GC', 'STATUS'])
      expect(await answerRequest(verbs(), requestOf(command))).toMatchObject({ exitCode: 0, stdout: '' });
  });
  test('VERSION is answered whatever the configuration', async () => {
    const text = encodeWireRequest({ environment: { CNI_COMMAND: 'VERSION' }, stdin: '' });
    const answered = await answerRequest(verbs(), text);
    expect(answered.exitCode).toBe(0);
    expect(JSON.parse(answered.stdout)).toHaveProperty('supportedVersions');
  });
  test('every kind of failure is an error object and a non-zero exit', async () => {
    const codes: readonly (readonly [unknown, number])[] = [
      [new CniError(cniCodes.portInUse, 'taken'), 103],
      [new KernelError('veth', 5, 'EIO'), 5],
      [new PortolanError('unavailable', 'later', { remedy: 'wait' }), 11],
      [new Error('bug'), 100],
    ];
    for (const [failure, code] of codes) {
      const answered = await answerRequest(verbs(failure), requestOf('ADD', { cniVersion: '1.0.0' }));
      expect(answered.exitCode).toBe(1);
      expect(JSON.parse(answered.stdout)).toMatchObject({ cniVersion: '1.0.0', code });
    }
  });
  test('a request that is cut off is code 5, a wrong verb code 4', async () => {
    expect(JSON.parse((await answerRequest(verbs(), 'CNI_COMMAND=ADD')).stdout)).toMatchObject({ code: 5 });
    expect(JSON.parse((await answerRequest(verbs(), requestOf('NOPE'))).stdout)).toMatchObject({ code: 4 });
  });
});
