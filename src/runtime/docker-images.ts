/** Images of Docker's daemon: pulled where they are not there, or where that is forced. */
import type { Clock } from '../base/clock.ts';
import { PortolanError } from '../base/errors.ts';
import type { ContainerOrder } from './containerizer.ts';
import { callDocker, readDocker } from './docker-http.ts';
import { registryOf, splitName } from './image-name.ts';
import { credentialsIn, registryAuth } from './registry-credentials.ts';

/** A daemon that starts many containers is slow at everything. */
const INSPECT_TIMEOUT_MS = 60_000;
const PULL_TIMEOUT_MS = 15 * 60_000;
const REGISTRY_ANSWER_MS = 60_000;

export interface DockerImagesInit {
  readonly socket: string;
  /** A registry that has not answered after so long is given up; absent = a minute. */
  readonly registryAnswerMs?: number;
}

interface Components {
  readonly clock: Clock;
}

export async function ensureDockerImage(
  components: Components,
  init: DockerImagesInit,
  { launch, sandbox }: Pick<ContainerOrder, 'launch' | 'sandbox'>,
  signal: AbortSignal,
): Promise<void> {
  const { image } = launch;
  if (image === undefined)
    throw new PortolanError('invalid', 'Cannot start a container of Docker without an image', {
      field: 'container.docker.image',
      remedy: 'name an image',
    });
  const path = `/images/${encodeURIComponent(image.name)}/json`;
  const inspect = { method: 'GET', path, timeoutMs: INSPECT_TIMEOUT_MS } as const;
  if (!image.force_pull && (await callDocker(init.socket, inspect)) !== undefined) return;
  const credentials = await credentialsIn(sandbox);
  const auth = credentials === undefined ? undefined : await registryAuth(credentials, image.name);
  signal.throwIfAborted();
  await pull(components, init, image.name, auth);
}

/**
 * The answer is a line of JSON for each step; one that failed says so in its last. The first comes when the registry has
 * answered. From then on a pull may be silent for long: it waits for others of the same daemon.
 */
async function pull(
  { clock }: Components,
  { socket, registryAnswerMs = REGISTRY_ANSWER_MS }: DockerImagesInit,
  name: string,
  auth: string | undefined,
): Promise<void> {
  const { repository, tag } = splitName(name);
  const query = `fromImage=${encodeURIComponent(repository)}&tag=${encodeURIComponent(tag)}`;
  const call = {
    ...({ method: 'POST', path: `/images/create?${query}`, timeoutMs: PULL_TIMEOUT_MS } as const),
    ...(auth === undefined ? {} : { headers: { 'x-registry-auth': auth } }),
  };
  const silence = new AbortController();
  const limit = clock.after(registryAnswerMs, () => silence.abort());
  try {
    const options = { signal: silence.signal, onAnswer: () => limit.cancel() };
    const answer = (await readDocker(socket, call, options)).toString('utf8');
    const failure = /"error":("(?:[^"\\]|\\.)*")/.exec(answer)?.[1];
    if (failure !== undefined) throw new Error(String(JSON.parse(failure)));
  } catch (cause) {
    const silent = `its registry ${registryOf(name)} has not answered for ${registryAnswerMs / 1000} s`;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new PortolanError(
      'invalid',
      `Cannot pull the image "${name}": ${silence.signal.aborted ? silent : why}`,
      {
        field: 'container.docker.image',
        remedy: 'check its name, and that this host can reach its registry',
        cause,
      },
    );
  } finally {
    limit.cancel();
  }
}
