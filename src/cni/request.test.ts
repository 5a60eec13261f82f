/** One test per sentence of the CNI specification 1.1 that concerns what a plug-in is called with. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CniError } from './errors.ts';
import { parseRequest, type CniRequest } from './request.ts';
import { SUPPORTED_VERSIONS } from './versions.ts';
import { askedVersion } from './config.ts';

const environment = {
  CNI_COMMAND: 'ADD',
  CNI_CONTAINERID: 'web-1',
  CNI_NETNS: '/run/netns/web-1',
  CNI_IFNAME: 'eth0',
  CNI_PATH: '/opt/cni/bin',
};
const config = { cniVersion: '1.1.0', name: 'dcos', type: 'portolan-cni' };

function parse(variables: Record<string, string> = {}, extra: Record<string, unknown> = {}): CniRequest {
  return parseRequest({ ...environment, ...variables }, JSON.stringify({ ...config, ...extra }));
}

function refused(action: () => unknown): CniError | undefined {
  try {
    action();
  } catch (error) {
    if (error instanceof CniError) return error;
    throw error;
  }
  return undefined;
}

/** The refusal as "code: message". */
function refusal(action: () => unknown): string {
  const error = refused(action);
  return error === undefined ? 'accepted' : `${error.code}: ${error.message}`;
}

describe('environment (section 2, "Parameters")', () => {
  test('ADD needs container id, namespace and interface name; the error 4 names all that are missing', () => {
    expect(refusal(() => parse({ CNI_CONTAINERID: '', CNI_NETNS: '', CNI_IFNAME: '' }))).toBe(
      '4: Required environment variables are not set: CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME',
    );
  });
  test('DEL needs no namespace', () => {
    expect(parse({ CNI_COMMAND: 'DEL', CNI_NETNS: '' }).netns).toBe('');
    expect(refusal(() => parse({ CNI_COMMAND: 'DEL', CNI_IFNAME: '' }))).toMatch(/^4: .*CNI_IFNAME/);
  });
  test('CHECK needs what ADD needs', () => {
    expect(refusal(() => parse({ CNI_COMMAND: 'CHECK', CNI_NETNS: '' }))).toMatch(/^4: .*CNI_NETNS/);
  });
  test('GC needs the path, STATUS nothing', () => {
    const none = { CNI_CONTAINERID: '', CNI_NETNS: '', CNI_IFNAME: '', CNI_PATH: '' };
    expect(refusal(() => parse({ ...none, CNI_COMMAND: 'GC' }))).toMatch(/^4: .*CNI_PATH/);
    expect(parse({ ...none, CNI_COMMAND: 'STATUS' }).command).toBe('STATUS');
  });
  test('an unknown or absent verb is error 4', () => {
    expect(refusal(() => parse({ CNI_COMMAND: 'UPDATE' }))).toMatch(/^4: CNI_COMMAND "UPDATE" is unknown/);
    expect(refusal(() => parse({ CNI_COMMAND: '' }))).toMatch(/^4: .*CNI_COMMAND is not set/);
    expect(refusal(() => parse({ CNI_COMMAND: 'toString' }))).toMatch(/^4: /);
  });
  test('a container id starts alphanumeric and goes on with alphanumerics, "_", "." or "-"', () => {
    for (const good of ['a', '0', 'A.b_c-1']) expect(parse({ CNI_CONTAINERID: good }).container).toBe(good);
    for (const bad of ['-a', '.a', 'a/b', 'a b', 'ä'])
      expect(refusal(() => parse({ CNI_CONTAINERID: bad }))).toMatch(/^4: CNI_CONTAINERID/);
  });
  test('an interface name is shorter than 16, not "." or "..", without "/", ":" and blanks', () => {
    for (const bad of ['.', '..', 'a/b', 'a:b', 'a b', 'a123456789012345'])
      expect(refusal(() => parse({ CNI_IFNAME: bad }))).toMatch(/^4: CNI_IFNAME/);
    expect(parse({ CNI_IFNAME: 'a12345678901234' }).ifname).toHaveLength(15);
  });
  test('CNI_ARGS is KEY=VALUE pairs separated by semicolons; unknown keys are ignored', () => {
    const request = parse({ CNI_ARGS: 'IgnoreUnknown=1;K8S_POD_NAME=web;IP=9.0.1.9/25,fd01:b::9;X=Y' });
    expect(request.containerName).toBe('web');
    expect(request.config.addresses.map(String)).toEqual(['9.0.1.9', 'fd01:b::9']);
    expect(refusal(() => parse({ CNI_ARGS: 'IP' }))).toMatch(/^4: CNI_ARGS holds "IP"/);
  });
});

describe('network configuration (section 1)', () => {
  test('what is no JSON object is error 6', () => {
    for (const text of ['', '{', '[]', 'null', '"x"'])
      expect(refusal(() => parseRequest(environment, text))).toMatch(/^6: Decode the network configuration/);
  });
  test('a version that is not supported is error 1', () => {
    expect(refusal(() => parse({}, { cniVersion: '2.0.0' }))).toBe('1: CNI version "2.0.0" is not supported');
    for (const version of SUPPORTED_VERSIONS)
      expect(parse({}, { cniVersion: version }).config.version).toBe(version);
  });
  test('an absent version means 0.1.0', () => {
    expect(parse({}, { cniVersion: undefined }).config.version).toBe('0.1.0');
  });
  test('CHECK came with 0.4.0, GC and STATUS with 1.1.0', () => {
    expect(refusal(() => parse({ CNI_COMMAND: 'CHECK' }, { cniVersion: '0.3.1' }))).toMatch(/^1: /);
    expect(refusal(() => parse({ CNI_COMMAND: 'GC' }, { cniVersion: '1.0.0' }))).toMatch(/^1: /);
    expect(refusal(() => parse({ CNI_COMMAND: 'STATUS' }, { cniVersion: '1.0.0' }))).toMatch(/^1: /);
  });
  test('a name outside [A-Za-z0-9][A-Za-z0-9_.-]* is error 7', () => {
    for (const name of ['', '-x', 'a b', 7, undefined])
      expect(refusal(() => parse({}, { name }))).toMatch(/^7: .*"name"/);
  });
  test('a refused value is named with its field, what is wrong and what to do', () => {
    const thrown = refused(() => parse({}, { runtimeConfig: { ips: '9.0.1.9' } }));
    expect(thrown?.message).toBe(
      'Read the network configuration: field "runtimeConfig.ips": Invalid input: expected array, received string',
    );
    expect(thrown?.details).toBe('correct the value');
    expect(refused(() => parse({}, { name: undefined }))?.details).toBe('add it (string), see the reference');
  });
  test('a field that cannot be honoured is error 2 with key and value', () => {
    expect(refusal(() => parse({}, { ipam: { type: 'host-local' } }))).toBe(
      '2: Field "ipam" with value {"type":"host-local"} is not supported',
    );
    expect(refusal(() => parse({}, { runtimeConfig: { bandwidth: { ingressRate: 1 } } }))).toMatch(
      /^2: Field "runtimeConfig.bandwidth"/,
    );
    expect(refusal(() => parse({}, { ipMasq: false }))).toMatch(/^2: Field "ipMasq"/);
  });
  test('what is not understood in args is ignored, and so are keys of the specification itself', () => {
    expect(parse({}, { args: { other: { x: [1] } }, 'cni.dev/future': 1 }).config.name).toBe('dcos');
  });
  test('the portMappings capability is read in the forms runtimes write', () => {
    const portMappings = [
      { hostPort: 8080, containerPort: 80, protocol: 'TCP', hostIP: '0.0.0.0' },
      { hostPort: 53, containerPort: 53, protocol: 'udp', hostIP: '' },
      { hostPort: 81, containerPort: 81, hostIP: '10.0.0.5' },
    ];
    expect(parse({}, { runtimeConfig: { portMappings } }).config.ports).toEqual([
      { hostPort: 8080, containerPort: 80, protocol: 'tcp' },
      { hostPort: 53, containerPort: 53, protocol: 'udp' },
      { hostPort: 81, containerPort: 81, protocol: 'tcp', hostIP: '10.0.0.5' },
    ]);
    expect(
      refusal(() => parse({}, { runtimeConfig: { portMappings: [{ hostPort: 0, containerPort: 1 }] } })),
    ).toMatch(/^7: .*"runtimeConfig.portMappings\[0\].hostPort"/);
  });
  test('the ips capability goes before args.cni.ips and both before CNI_ARGS', () => {
    const args = { cni: { ips: ['9.0.1.8'] } };
    const wanted = (extra: Record<string, unknown>): string[] =>
      parse({ CNI_ARGS: 'IP=9.0.1.7' }, extra).config.addresses.map(String);
    expect(wanted({ args, runtimeConfig: { ips: ['9.0.1.9/25'] } })).toEqual(['9.0.1.9']);
    expect(wanted({ args })).toEqual(['9.0.1.8']);
    expect(wanted({})).toEqual(['9.0.1.7']);
    expect(refusal(() => parse({}, { runtimeConfig: { ips: ['9.0.1'] } }))).toMatch(/^7: Requested address/);
  });
  test('what Mesos hands over is kept: labels, port mappings, the whole network_info', () => {
    const network_info = {
      name: 'dcos',
      labels: { labels: [{ key: 'app', value: 'myapp' }] },
      ip_addresses: [{ protocol: 'IPv4' }],
      port_mappings: [{ host_port: 8080, container_port: 80, protocol: 'TCP' }],
    };
    const parsed = parse(
      {},
      { args: { 'org.apache.mesos': { network_info }, cni: { labels: [{ key: 'rack', value: '3A' }] } } },
    ).config;
    expect(parsed.labels).toEqual({ app: 'myapp', rack: '3A' });
    expect(parsed.ports).toEqual([{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }]);
    expect(parsed.networkInfo).toEqual(network_info);
  });
  test.each([{ VIP_0: 7 }, [{ key: 'VIP_0', value: 7 }], [{ value: 'x' }], 'VIP_0=x'])(
    'labels that are no texts are refused with how to write them: %j',
    (labels) => {
      const problem = refusal(() => parse({}, { args: { cni: { labels } } }));
      expect(problem).toContain('field "args.cni.labels": write {"KEY": "TEXT"}');
    },
  );
  test('the attachments of GC are read under the key of either edition', () => {
    const list = [{ containerID: 'a', ifname: 'eth0' }];
    for (const key of ['cni.dev/valid-attachments', 'cni.dev/attachments'])
      expect(parse({ CNI_COMMAND: 'GC' }, { [key]: list }).config.validAttachments).toEqual([
        { container: 'a', ifname: 'eth0' },
      ]);
  });
  test('for GC null is a list without entries, and an absent key no list', () => {
    const listOf = (extra: Record<string, unknown>): unknown =>
      parse({ CNI_COMMAND: 'GC' }, extra).config.validAttachments;
    expect(listOf({ 'cni.dev/valid-attachments': null, 'cni.dev/attachments': null })).toEqual([]);
    expect(listOf({})).toBeUndefined();
  });
  test('DEL takes what ADD was refused for: a runtime must be able to clean up after it', () => {
    const del = (extra: Record<string, unknown>): string =>
      parse({ CNI_COMMAND: 'DEL', CNI_ARGS: 'IP' }, extra).config.name;
    const portMappings = [{ hostPort: 0 }];
    expect(del({ ipam: {}, prevResult: 7, runtimeConfig: { portMappings }, routes: 'x', args: 1 })).toBe(
      'dcos',
    );
    expect(refusal(() => del({ cniVersion: '2.0.0' }))).toMatch(/^1: /);
    expect(refusal(() => del({ name: '' }))).toMatch(/^7: .*"name"/);
  });
  test('errors are answered in the version that was asked with, even of broken input', () => {
    expect(askedVersion('{"cniVersion": "1.0.0", ')).toBe('1.0.0');
    expect(askedVersion('nothing')).toBe('0.1.0');
  });
  test('no input breaks the decoder: it parses or is a CniError', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.dictionary(fc.string(), fc.jsonValue()), (value, more) => {
        refusal(() => parseRequest(environment, JSON.stringify(value)));
        refusal(() => parse({}, { args: value, ...more }));
        refusal(() => parse({}, { runtimeConfig: value, prevResult: value, routes: value }));
      }),
      { numRuns: 200 },
    );
  });
});
