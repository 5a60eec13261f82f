/**
 * The label that means one task only, as Mesos-DNS makes it (reference "VIPs and DNS", section 5).
 */
import { hash } from 'node:crypto';
import { label } from '../model/dns-name.ts';
import { LABEL_BYTES_MAX } from './constants.ts';

/** z-base-32 (P. O'Whielacronx), without padding. */
const ALPHABET = 'ybndrfg8ejkmcpqxot1uwisza345h769';
const HASH_CHARS = 5;

/** Mesos-DNS tells the tasks of an app apart by the first five characters of zbase32(SHA-1(task id)). */
export function taskHash(taskId: string): string {
  const digest = hash('sha1', taskId);
  let text = '';
  let bits = Number.parseInt(digest.slice(0, 8), 16) >>> (32 - HASH_CHARS * 5);
  for (let at = 0; at < HASH_CHARS; at++) {
    text = (ALPHABET[bits & 31] ?? '') + text;
    bits >>>= 5;
  }
  return text;
}

/** The last `-` part of an agent's id: `…-S0` is `s0`. */
export function agentTail(agentId: string): string {
  return label(agentId.slice(agentId.lastIndexOf('-') + 1));
}

/** The label that means one task only, of its name's label, which gives way where they would not fit. */
export function canonicalLabel(task: {
  readonly label: string;
  readonly id: string;
  readonly agent: string;
}): string {
  const tail = `-${taskHash(task.id)}-${agentTail(task.agent)}`;
  return label(task.label.slice(0, LABEL_BYTES_MAX - tail.length) + tail);
}

/** The hash in what may be a canonical label. */
export function canonicalHash(text: string): string | undefined {
  return /-([a-z0-9]{5})(?:-[a-z0-9]*)?$/.exec(text)?.[1];
}
