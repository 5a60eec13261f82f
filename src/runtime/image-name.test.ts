import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { isLoopbackRegistry, registryOf, splitName } from './image-name.ts';
import { registryAuth } from './registry-credentials.ts';

it('names of images begin with their registry, or are of Docker’s own', () => {
  const names = [
    'nginx',
    'chrisrc/myservice',
    'localhost/x',
    'quay.io/a/b:1',
    '127.0.0.1:5000/a',
    '[::1]:5000/a',
  ];
  expect(names.map((name) => registryOf(name))).toEqual([
    ...['docker.io', 'docker.io', 'localhost', 'quay.io', '127.0.0.1:5000', '[::1]:5000'],
  ]);
  expect(names.map((name) => isLoopbackRegistry(name))).toEqual([false, false, true, false, true, true]);
});

it('names of images end with a tag or a digest; without either it is latest', () => {
  expect(splitName('127.0.0.1:5000/a')).toEqual({ repository: '127.0.0.1:5000/a', tag: 'latest' });
  expect(splitName('127.0.0.1:5000/a:1')).toEqual({ repository: '127.0.0.1:5000/a', tag: '1' });
  expect(splitName('a@sha256:00')).toEqual({ repository: 'a', tag: 'sha256:00' });
});

it('what a docker login wrote is said to the registry that it is for, and to no other', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'plb-auth-'));
  const path = join(directory, 'config.json');
  const auth = Buffer.from('me:pass:word').toString('base64');
  const auths = { 'https://index.docker.io/v1/': { auth }, 'quay.io': { auth: '', identitytoken: 't' } };
  await writeFile(path, JSON.stringify({ auths }));
  const said = async (image: string): Promise<unknown> => {
    const text = await registryAuth(path, image);
    return text === undefined ? undefined : JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));
  };
  try {
    expect(await said('me/private')).toMatchObject({ username: 'me', password: 'pass:word' });
    expect(await said('quay.io/a')).toMatchObject({ identitytoken: 't', serveraddress: 'quay.io' });
    expect(await said('ghcr.io/a')).toBeUndefined();
    await writeFile(path, 'no json');
    await expect(registryAuth(path, 'a')).rejects.toThrow(/".docker\/config.json"/);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});
