import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  chooseVersion,
  cniAdd,
  cniDelete,
  pluginInput,
  readConflists,
  type Attachment,
  type Conflist,
} from './cni-runtime.ts';

const attachment: Attachment = {
  containerId: 'c1',
  containerName: 'web',
  netns: '/run/netns/c1',
  ifname: 'eth0',
  ports: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }],
  labels: { tier: 'front' },
};
const list: Conflist = {
  cniVersion: '0.4.0',
  cniVersions: ['0.4.0', '1.1.0'],
  name: 'dcos',
  plugins: [
    { type: 'first', capabilities: { portMappings: true } },
    { type: 'second', mtu: 1400 },
  ],
};

describe('pluginInput', () => {
  it('hands the port mappings only to the plug-in with that capability', () => {
    expect(pluginInput(list, 0, attachment, undefined)).toMatchObject({
      type: 'first',
      name: 'dcos',
      cniVersion: '1.1.0',
      runtimeConfig: { portMappings: attachment.ports },
    });
    expect(pluginInput(list, 1, attachment, { ips: [] })).toMatchObject({
      mtu: 1400,
      prevResult: { ips: [] },
    });
    expect(pluginInput(list, 1, attachment, undefined)).not.toHaveProperty('runtimeConfig');
  });

  it('says whose the attachment is and what its labels are, and keeps the capabilities to itself', () => {
    const input = pluginInput(list, 0, attachment, undefined);
    expect(input).toMatchObject({
      args: { cni: { labels: [{ key: 'tier', value: 'front' }] }, portolan: { owner: 'portolan' } },
    });
    expect(input).not.toHaveProperty('capabilities');
  });

  it('speaks the one version of a list that does not offer several', () => {
    expect(chooseVersion({ ...list, cniVersions: undefined })).toBe('0.4.0');
  });
});

describe('executing plug-ins', () => {
  let directory = '';
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'plb-cni-'));
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  const plugin = (name: string, script: string): Promise<void> =>
    writeFile(join(directory, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  const init = (): { env: Record<string, string>; pluginDirectories: string[] } => ({
    env: { EXTRA: 'yes' },
    pluginDirectories: [directory],
  });
  const record = `cat > "$(dirname "$0")/$(basename "$0").$CNI_COMMAND"; echo "$(basename "$0") $CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME $CNI_NETNS $CNI_ARGS $EXTRA" >> "$(dirname "$0")/calls"`;

  it('chains ADD forward with the previous result and DEL backward with the last', async () => {
    await plugin('first', `${record}; echo '{"cniVersion":"1.1.0","ips":[{"address":"9.0.1.2/25"}]}'`);
    await plugin('second', `${record}; echo '{"cniVersion":"1.1.0","ips":[{"address":"9.0.1.3/25"}]}'`);
    const result = await cniAdd(list, attachment, init());
    expect(result.ips).toEqual([{ address: '9.0.1.3/25' }]);
    await cniDelete(list, attachment, result, init());
    const calls = await readFile(join(directory, 'calls'), 'utf8');
    const rest = 'c1 eth0 /run/netns/c1 IgnoreUnknown=1;K8S_POD_NAME=web yes';
    expect(calls.trim().split('\n')).toEqual([
      `first ADD ${rest}`,
      `second ADD ${rest}`,
      `second DEL ${rest}`,
      `first DEL ${rest}`,
    ]);
    expect(await readFile(join(directory, 'second.ADD'), 'utf8')).toContain('"prevResult"');
  });

  it("fails with the plug-in's own words and remedy", async () => {
    await plugin(
      'first',
      `echo '{"code":11,"msg":"No address is left","details":"remove a container"}'; exit 1`,
    );
    await expect(cniAdd(list, attachment, init())).rejects.toMatchObject({
      message: expect.stringContaining('No address is left') as string,
      remedy: 'remove a container',
    });
  });

  it('knows of our own that no address is left; the codes of others mean what they say', async () => {
    const full = `echo '{"code":104,"msg":"All 1 addresses are in use"}'; exit 1`;
    for (const name of ['first', 'portolan-cni']) await plugin(name, full);
    await expect(cniAdd(list, attachment, init())).rejects.toMatchObject({ code: 'unavailable' });
    const own = { ...list, plugins: [{ type: 'portolan-cni' }] };
    await expect(cniAdd(own, attachment, init())).rejects.toMatchObject({ code: 'exhausted' });
  });

  it('says where a missing plug-in is looked for', async () => {
    await expect(cniAdd(list, attachment, init())).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('reads lists in order of their file names and passes over broken ones', async () => {
    await writeFile(join(directory, 'b.conflist'), JSON.stringify({ ...list, name: 'b' }));
    await writeFile(join(directory, 'a.conflist'), JSON.stringify({ ...list, name: 'a' }));
    await writeFile(join(directory, '0.conflist'), '{"half":');
    await writeFile(join(directory, 'notes.txt'), 'x');
    expect((await readConflists(directory)).map((each) => each.name)).toEqual(['a', 'b']);
    expect(await readConflists(join(directory, 'none'))).toEqual([]);
  });
});
