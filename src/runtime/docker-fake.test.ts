import { describe, expect, test } from 'vitest';
import { dockerContract } from './docker-contract.ts';
import { FakeDocker } from './docker-fake.ts';

const fake = new FakeDocker();
dockerContract('the fake', () => ({
  docker: fake,
  run: (name, network) => Promise.resolve(fake.run(name, network, { a: 'b' })),
  kill: (id) => Promise.resolve(fake.kill(id)),
}));

describe('the fake alone', () => {
  test('a stopped daemon answers nothing and ends its streams', async () => {
    const docker = new FakeDocker();
    const events = await docker.events(() => undefined);
    docker.stop();
    await events.ended;
    await expect(docker.version()).rejects.toMatchObject({ code: 'unavailable' });
    docker.start();
    expect((await docker.version()).apiVersion).toBe('1.41');
  });
});
