import { describe, expect, test } from 'vitest';
import { CniError, encodeError, cniCodes } from './errors.ts';
import { appendResult, emptyResult, encodeResult, parseResult, type CniResult } from './result.ts';
import { SUPPORTED_VERSIONS, versionAnswer } from './versions.ts';
import { renderConflist } from './conflist.ts';
import { decodeWireAnswer, decodeWireRequest, encodeWireAnswer, encodeWireRequest } from './wire.ts';

const result: CniResult = {
  interfaces: [
    { name: 'm-dcos', mac: '02:00:00:00:00:01' },
    { name: 'pv1234', mac: '02:00:00:00:00:02' },
    { name: 'eth0', mac: '02:00:00:00:00:03', mtu: 1420, sandbox: '/run/netns/x' },
  ],
  ips: [
    { address: '9.0.1.3/25', gateway: '9.0.1.1', interface: 2 },
    { address: 'fd01:b::3/81', gateway: 'fd01:b::1', interface: 2 },
  ],
  routes: [
    { dst: '0.0.0.0/0', gw: '9.0.1.1' },
    { dst: '::/0', gw: 'fd01:b::1' },
  ],
  dns: { nameservers: ['198.51.100.1'] },
};

describe('the result of ADD', () => {
  test('1.1.0 carries the MTU', () => {
    expect(JSON.parse(encodeResult(result, '1.1.0'))).toEqual({ cniVersion: '1.1.0', ...result });
  });
  test('1.0.0 is the same without the MTU', () => {
    const decoded = JSON.parse(encodeResult(result, '1.0.0')) as CniResult;
    expect(decoded.interfaces[2]).toEqual({
      name: 'eth0',
      mac: '02:00:00:00:00:03',
      sandbox: '/run/netns/x',
    });
    expect(decoded.ips).toEqual(result.ips);
  });
  test('before 1.0.0 each address says its version', () => {
    for (const version of ['0.3.0', '0.3.1', '0.4.0'] as const) {
      const decoded = JSON.parse(encodeResult(result, version)) as CniResult;
      expect(decoded.ips).toEqual([
        { version: '4', address: '9.0.1.3/25', gateway: '9.0.1.1', interface: 2 },
        { version: '6', address: 'fd01:b::3/81', gateway: 'fd01:b::1', interface: 2 },
      ]);
    }
  });
  test('0.1.0 and 0.2.0 know ip4, ip6 and dns', () => {
    for (const version of ['0.1.0', '0.2.0'] as const)
      expect(JSON.parse(encodeResult(result, version))).toEqual({
        cniVersion: version,
        ip4: { ip: '9.0.1.3/25', gateway: '9.0.1.1', routes: [{ dst: '0.0.0.0/0', gw: '9.0.1.1' }] },
        ip6: { ip: 'fd01:b::3/81', gateway: 'fd01:b::1', routes: [{ dst: '::/0', gw: 'fd01:b::1' }] },
        dns: { nameservers: ['198.51.100.1'] },
      });
  });
  test('in every version the addresses come back from prevResult as they were given', () => {
    for (const version of SUPPORTED_VERSIONS) {
      const parsed = parseResult(JSON.parse(encodeResult(result, version)), version);
      expect(parsed.ips.map((ip) => ip.address)).toEqual(['9.0.1.3/25', 'fd01:b::3/81']);
      expect(parsed.routes).toEqual(result.routes);
    }
  });
  test('null lists, as Go programs write them, are empty', () => {
    expect(parseResult({ interfaces: null, ips: null, routes: null, dns: {} }, '1.0.0')).toEqual(emptyResult);
  });
  test('a malformed prevResult is error 7 that names the place', () => {
    expect(() => parseResult({ ips: [{ address: 7 }] }, '1.0.0')).toThrow(/prevResult.ips.0.address/);
    expect(() => parseResult('x', '0.2.0')).toThrow(CniError);
  });
  test('what an earlier plug-in made is passed on, with our indexes behind its interfaces', () => {
    const previous: CniResult = {
      ...emptyResult,
      interfaces: [{ name: 'lo', sandbox: '/run/netns/x' }],
      ips: [{ address: '127.0.0.1/8', interface: 0 }],
    };
    const both = appendResult(previous, result);
    expect(both.interfaces.map((one) => one.name)).toEqual(['lo', 'm-dcos', 'pv1234', 'eth0']);
    expect(both.ips.map((one) => one.interface)).toEqual([0, 3, 3]);
    expect(both.dns).toEqual(result.dns);
  });
});

describe('other answers', () => {
  test('an error is code, message and details in the version asked with', () => {
    expect(JSON.parse(encodeError(new CniError(cniCodes.portInUse, 'Port', 'why'), '0.4.0'))).toEqual({
      cniVersion: '0.4.0',
      code: 103,
      msg: 'Port',
      details: 'why',
    });
  });
  test('VERSION lists what is supported', () => {
    expect(versionAnswer('1.0.0')).toEqual({ cniVersion: '1.0.0', supportedVersions: SUPPORTED_VERSIONS });
    expect(versionAnswer('9').cniVersion).toBe('1.1.0');
  });
  test('a configuration list names the overlay, all versions and only capabilities that work', () => {
    expect(JSON.parse(renderConflist('dcos'))).toEqual({
      cniVersion: '0.4.0',
      cniVersions: ['0.4.0', '1.0.0', '1.1.0'],
      name: 'dcos',
      plugins: [{ type: 'portolan-cni', capabilities: { portMappings: true, ips: true, mac: true } }],
    });
  });
  test('requests and answers survive the wire', () => {
    const request = { environment: { CNI_COMMAND: 'ADD', CNI_ARGS: 'A=B;C=D' }, stdin: '{\n\n}' };
    expect(decodeWireRequest(encodeWireRequest(request))).toEqual(request);
    const answer = { exitCode: 1, stdout: '{"code":\n7}' };
    expect(decodeWireAnswer(encodeWireAnswer(answer))).toEqual(answer);
    expect(() => decodeWireRequest('CNI_COMMAND=ADD\n')).toThrow(CniError);
    expect(decodeWireAnswer('oops')).toBeUndefined();
  });
});
