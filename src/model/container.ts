/** Native containers as the agent's API speaks of them. */
import { z } from 'zod';
import { portMapping } from './endpoint.ts';
import { interfaceAddressText } from './text.ts';

const containerName = z
  .string()
  .regex(/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$/, 'must be 1 to 63 letters, digits, "_", "." and "-"');

/** `POST /v1/containers` */
export const containerRequest = z.strictObject({
  /** Absent = the container's id. */
  name: containerName.optional(),
  /** Absent = the first overlay. */
  network: z.string().optional(),
  argv: z.array(z.string()).min(1, 'must name a program').max(1024),
  env: z.record(z.string().regex(/^[^=\0]+$/), z.string()).default({}),
  cwd: z.string().startsWith('/').default('/'),
  ports: z.array(portMapping).max(256).default([]),
  labels: z.record(z.string(), z.string()).default({}),
  /** Removed by the agent soon after it has ended. */
  remove: z.boolean().default(false),
});
export type ContainerRequest = z.infer<typeof containerRequest>;

export const containerStates = ['creating', 'running', 'exited', 'lost'] as const;

export const containerInfo = z.strictObject({
  id: z.string(),
  name: z.string(),
  network: z.string(),
  argv: z.array(z.string()),
  /** `lost`: its host went down under it, or it was never made whole; only `rm` is left to do. */
  state: z.enum(containerStates),
  addresses: z.array(interfaceAddressText),
  ports: z.array(portMapping),
  labels: z.record(z.string(), z.string()),
  pid: z.int().optional(),
  exitCode: z.int().optional(),
  createdMs: z.number(),
});
export type ContainerInfo = z.infer<typeof containerInfo>;

/** `GET /v1/containers/<id>/logs?from=<next>`: what it has written, a piece at a time. */
export const containerLogs = z.strictObject({
  entries: z.array(z.strictObject({ stream: z.enum(['stdout', 'stderr']), text: z.string() })),
  /** Where the next piece begins; as asked with = there is no more now. */
  next: z.int(),
});
export type ContainerLogs = z.infer<typeof containerLogs>;

export const CONTAINERS_PATH = '/v1/containers';
