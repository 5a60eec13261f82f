import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { PortolanError } from '../base/errors.ts';
import { agentConfig, masterConfig } from './config.ts';
import { loadConfigFile } from './config-file.ts';
import { nearest } from './config-issue.ts';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'portolan-config-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

async function loadMaster(text: string) {
  const path = join(dir, 'master.yaml');
  await writeFile(path, text);
  return loadConfigFile(masterConfig, path, '/nonexistent');
}

async function refusal(text: string): Promise<PortolanError> {
  const error: unknown = await loadMaster(text).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(PortolanError);
  return error as PortolanError;
}

describe('loadConfigFile', () => {
  test('reads YAML', async () => {
    const config = await loadMaster(
      'http_port: 6050\nnetwork:\n  vtep_subnet: 44.128.0.0/20\n' +
        '  vtep_mac_oui: 70:B3:D5:00:00:00\n  overlays:\n    - {name: a, subnet: 9.0.0.0/8, prefix: 24}\n',
    );
    expect(config.http_port).toBe(6050);
    expect(config.network.overlays).toEqual([{ name: 'a', subnet: '9.0.0.0/8', prefix: 24, enabled: true }]);
  });

  test('gives the defaults for an empty file and for no file', async () => {
    expect((await loadMaster('')).network.overlays.map(({ name }) => name)).toEqual(['dcos', 'dcos6']);
    expect((await loadConfigFile(masterConfig, undefined, join(dir, 'none'))).http_port).toBe(5050);
  });

  test('lets a master and an agent run on one host without being told', () => {
    const ports = [masterConfig, agentConfig].flatMap((config) => {
      const { http_port, gossip_port } = config.parse({});
      return [http_port, gossip_port];
    });
    expect(new Set(ports).size).toBe(4);
  });

  test('refuses a file that is not there, by name', async () => {
    await expect(loadConfigFile(agentConfig, join(dir, 'none'), '/x')).rejects.toThrow(join(dir, 'none'));
  });

  test('refuses text that is neither YAML nor JSON and says where', async () => {
    expect((await refusal('{"network": ')).message).toMatch(/line 1|line 2/);
  });

  test('refuses an unknown key by name, with the nearest known one', async () => {
    const error = await refusal('{"network": {"overlays": [{"name": "a", "prefx": 24}]}}');
    expect(error.field).toBe('network.overlays[0].prefx');
    expect(error.remedy).toBe('did you mean "prefix"?');
    expect(error.message).toContain('master.yaml');
  });

  test('refuses an unknown key that resembles nothing with a list of the known ones', async () => {
    const error = await refusal('{"zebra_crossing": 1}');
    expect(error.remedy).toContain('http_port');
  });

  test('names a missing field', async () => {
    const error = await refusal('{"network": {"overlays": [], "vtep_mac_oui": "70:B3:D5:00:00:00"}}');
    expect(error.field).toBe('network.vtep_subnet');
    expect(error.message).toContain('missing');
  });

  test('names a field of the wrong type', async () => {
    const error = await refusal('{"http_port": "5050"}');
    expect(error.field).toBe('http_port');
  });

  test('refuses a network with host bits', async () => {
    const error = await refusal(
      '{"network": {"vtep_subnet": "44.128.0.1/20", "vtep_mac_oui": "x", "overlays": []}}',
    );
    expect(error.message).toContain('host bits');
  });
});

describe('nearest', () => {
  test('finds a key with a transposition and gives none for a distant one', () => {
    expect(nearest('subent', ['subnet', 'prefix'])).toBe('subnet');
    expect(nearest('colour', ['subnet', 'prefix'])).toBeUndefined();
  });
});
