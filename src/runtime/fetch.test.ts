import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { FetchUri } from '../model/task.ts';
import { fetchUri } from './fetch.ts';
import { FetchCache } from './fetch-cache.ts';

let directory = '';
let sandbox = '';
let cache: FetchCache;
let server: Server;
let base = '';
let asked: string[] = [];
let answer: (request: IncomingMessage, response: ServerResponse) => void;

const never = new AbortController().signal;
const fetch = (uri: string, more: Partial<FetchUri> = {}): Promise<void> =>
  fetchUri({ uri, extract: true, executable: false, cache: false, ...more }, sandbox, {
    cache,
    signal: never,
  });
const fetched = (name: string): Promise<string> => readFile(join(sandbox, name), 'utf8');
const kept = async (): Promise<readonly string[]> =>
  (await readdir(join(directory, 'cache'))).filter((name) => !name.endsWith('.json'));

async function openCache(maxBytes = 1024 * 1024): Promise<void> {
  cache = new FetchCache({ root: join(directory, 'cache'), maxBytes });
  await cache.open();
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'plb-fetch-'));
  sandbox = join(directory, 'sandbox');
  await mkdir(sandbox);
  await openCache();
  asked = [];
  answer = (_, response) => response.end('text');
  server = createServer((request, response) => {
    asked.push(`${request.url ?? ''} ${request.headers['if-none-match'] ?? '-'}`);
    answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await rm(directory, { recursive: true, force: true });
});

describe('what is fetched', () => {
  /** With one file in it, named `unpacked`. */
  const tar = (name: string, option: string): string => {
    const path = join(directory, name);
    execFileSync('sh', [
      '-c',
      `cd ${directory} && echo ${name} > unpacked && tar -c ${option} -f ${path} unpacked`,
    ]);
    return path;
  };
  const zip =
    'UEsDBBQAAAAAAGFWdV2j/yqtBAAAAAQAAAAGAAAAemlwcGVkemlwClBLAQIUAxQAAAAAAGFWdV2j/yqtBAAAAAQAAAAGAAAAAAAAAAAAAACAAQAAAAB6aXBwZWRQSwUGAAAAAAEAAQA0AAAAKAAAAAAA';

  it('is unpacked by the end of its name, in its place; and is left alone where that is asked for', async () => {
    for (const [name, option] of [
      ['a.tar', ''],
      ['a.tar.gz', '-z'],
      ['a.tgz', '-z'],
      ['a.tar.bz2', '-j'],
      ['a.txz', '-J'],
    ] as const) {
      await fetch(tar(name, option), { dest_path: `in/${name}` });
      expect(await fetched('in/unpacked')).toBe(`${name}\n`);
    }
    await writeFile(join(directory, 'one.zip'), Buffer.from(zip, 'base64'));
    await fetch(`file://${directory}/one.zip`);
    expect(await fetched('zipped')).toBe('zip\n');
    execFileSync('sh', ['-c', `echo packed | gzip > ${directory}/words.txt.gz`]);
    await fetch(join(directory, 'words.txt.gz'));
    expect(await fetched('words.txt')).toBe('packed\n');
    await fetch(join(directory, 'a.tar'), { extract: false, dest_path: 'whole/a.tar' });
    expect(await readdir(join(sandbox, 'whole'))).toEqual(['a.tar']);
  });

  it('is a program where that is asked for, and is not unpacked then', async () => {
    await fetch(tar('a.tar', ''), { executable: true });
    expect((await stat(join(sandbox, 'a.tar'))).mode & 0o777).toBe(0o755);
    expect(await readdir(sandbox)).toEqual(['a.tar']);
  });

  it('is named by its URI, through redirects, unless it is given a place', async () => {
    answer = ({ url }, response) => {
      if (url === '/there') return response.end('moved');
      return response.writeHead(302, { location: '/there' }).end();
    };
    await fetch(`${base}/some/file%20name?version=1#part`);
    expect(await fetched('file name')).toBe('moved');
    await fetch(`${base}/x`, { dest_path: 'conf/app.conf' });
    expect(await fetched('conf/app.conf')).toBe('moved');
    answer = (_, response) => response.writeHead(302, { location: '/again' }).end();
    await expect(fetch(`${base}/x`)).rejects.toThrow(/redirected more than 8 times/);
  });

  it('does not come, in words that say why', async () => {
    const said = (uri: string): Promise<string> =>
      fetch(uri).then(
        () => 'fetched',
        (error: Error) => error.message.replace(`Cannot fetch "${uri}": `, ''),
      );
    answer = (_, response) => response.writeHead(404).end();
    expect(await said(`${base}/x`)).toBe('the server answered 404 Not Found');
    answer = (_, response) => {
      response.writeHead(200, { 'content-length': '1000' });
      response.write('only this', () => response.destroy());
    };
    expect(await said(`${base}/x`)).toBe('the connection ended before all of its 1000 bytes had come');
    expect(await said('http://127.0.0.1:1/x')).toMatch(/ECONNREFUSED/);
    expect(await said('hdfs://x/y')).toBe('its scheme is not supported');
    expect(await said('file:///nosuch')).toBe('there is no such file on this host');
    await writeFile(join(directory, 'broken.tgz'), 'no archive');
    await expect(fetch(join(directory, 'broken.tgz'))).rejects.toThrow(/Cannot extract "broken.tgz": /);
  });

  it('stays in the sandbox, whatever came before it', async () => {
    for (const dest_path of ['../x', '/etc/x', 'a/../../x', '.'])
      await expect(fetch(`${base}/x`, { dest_path })).rejects.toThrow(/no place in the sandbox/);
    await mkdir(join(directory, 'outside'));
    await symlink(join(directory, 'outside'), join(sandbox, 'link'));
    await expect(fetch(`${base}/x`, { dest_path: 'link/x' })).rejects.toThrow(/behind a link/);
    await symlink(join(directory, 'outside', 'file'), join(sandbox, 'x'));
    await expect(fetch(`${base}/x`)).rejects.toThrow(/behind a link/);
    expect(await readdir(join(directory, 'outside'))).toEqual([]);
  });
});

describe('what is fetched with a cache', () => {
  const cached = (path: string, name = 'x'): Promise<void> =>
    fetch(`${base}${path}`, { cache: true, dest_path: name });

  it('comes once for all who want it at the same time', async () => {
    answer = (_, response) => void setTimeout(() => response.end('text'), 50);
    await Promise.all(Array.from({ length: 5 }, (_, i) => cached('/a', `x${i}`)));
    expect(asked).toEqual(['/a -']);
    expect(await fetched('x4')).toBe('text');
  });

  it('is asked for by its ETag or its time, and comes again only when it is another', async () => {
    let version = '"1"';
    answer = ({ headers }, response) => {
      if (headers['if-none-match'] === version) return response.writeHead(304).end();
      return response.writeHead(200, { etag: version }).end(`version ${version}`);
    };
    await cached('/a');
    await cached('/a');
    expect(asked).toEqual(['/a -', '/a "1"']);
    version = '"2"';
    await cached('/a');
    expect(await fetched('x')).toBe('version "2"');
    const time = new Date(0).toUTCString();
    answer = ({ headers }, response) => {
      if (headers['if-modified-since'] === time) return response.writeHead(304).end();
      return response.writeHead(200, { 'last-modified': time }).end('timed');
    };
    await cached('/b', 'b');
    answer = ({ headers }, response) =>
      response.writeHead(headers['if-modified-since'] === time ? 304 : 200).end('again');
    await cached('/b', 'b');
    expect(await fetched('b')).toBe('timed');
  });

  it('is the same as long as it has its length, where the server gives no other sign', async () => {
    let text = 'one';
    answer = (_, response) => response.writeHead(200, { 'content-length': text.length }).end(text);
    await cached('/a');
    text = 'two';
    await cached('/a');
    expect(await fetched('x')).toBe('one');
    text = 'three';
    await cached('/a');
    expect(await fetched('x')).toBe('three');
  });

  it('is as it was known while its server fails, and not when it is gone', async () => {
    answer = (_, response) => response.writeHead(200, { etag: '"1"' }).end('known');
    await cached('/a');
    for (const status of [500, 503]) {
      answer = (_, response) => response.writeHead(status).end();
      await cached('/a', `s${status}`);
    }
    answer = (_, response) => response.destroy();
    await cached('/a', 'cut');
    expect(await fetched('cut')).toBe('known');
    answer = (_, response) => response.writeHead(404).end();
    await expect(cached('/a')).rejects.toThrow(/404 Not Found/);
    answer = (_, response) => response.writeHead(503).end();
    await expect(cached('/never')).rejects.toThrow(/503 Service Unavailable/);
  });

  it('has no more room than it is given; what was not used for longest goes first', async () => {
    answer = ({ url }, response) => response.writeHead(200, { etag: '"1"' }).end((url ?? '').repeat(20));
    await openCache(90);
    await cached('/a', 'a');
    const long = (minutes: number): Date => new Date(Date.now() - minutes * 60_000);
    const [first = ''] = await kept();
    await utimes(join(directory, 'cache', `${first}.json`), long(1), long(1));
    await cached('/b', 'b');
    const second = (await kept()).find((name) => name !== first) ?? '';
    await utimes(join(directory, 'cache', `${second}.json`), long(2), long(2));
    await cached('/c', 'c');
    expect(await kept()).toHaveLength(2);
    asked = [];
    answer = (_, response) => response.writeHead(304).end();
    await cached('/a', 'a');
    await cached('/c', 'c');
    expect(asked).toEqual(['/a "1"', '/c "1"']);
    answer = (_, response) => response.end('x'.repeat(1000));
    await cached('/large', 'large');
    expect((await fetched('large')).length).toBe(1000);
    // It is too large for any room, and takes nobody's.
    expect(await kept()).toHaveLength(2);
  });

  it('outlives its agent, and what a crash cut off counts for nothing', async () => {
    answer = (_, response) => response.writeHead(200, { etag: '"1"' }).end('text');
    await cached('/a');
    await cached('/b');
    const [first = '', second = ''] = await kept();
    await writeFile(join(directory, 'cache', first), 'te');
    await rm(join(directory, 'cache', `${second}.json`));
    await writeFile(join(directory, 'cache', '.new-123'), 'half');
    await openCache();
    expect(await kept()).toEqual([first]);
    asked = [];
    await cached('/a');
    await cached('/b');
    expect(asked).toEqual(['/a -', '/b -']);
    await openCache();
    answer = (_, response) => response.writeHead(304).end();
    await cached('/a');
    expect(await fetched('x')).toBe('text');
  });
});
