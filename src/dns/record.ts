/** What is said of a name. */
import type { IpAddress } from '../base/ip.ts';
import { types } from './constants.ts';

export interface SoaData {
  readonly type: 'SOA';
  readonly mname: string;
  readonly rname: string;
  readonly refresh: number;
  readonly retry: number;
  readonly expire: number;
  /** Also the seconds for which "there is no such name" may be kept (RFC 2308). */
  readonly minimum: number;
}

export type RecordData =
  | { readonly type: 'A' | 'AAAA'; readonly address: IpAddress }
  | { readonly type: 'SRV'; readonly target: string; readonly port: number }
  | { readonly type: 'PTR' | 'NS' | 'CNAME'; readonly target: string }
  | SoaData;

export type RecordType = RecordData['type'];

export interface DnsRecord {
  /** Lower-case text without the last dot. */
  readonly name: string;
  readonly ttl: number;
  readonly data: RecordData;
  /** False = of a host that cannot be reached now, or a task that is not healthy: told only where the name has nothing better. */
  readonly preferred: boolean;
}

export const recordTypes: readonly RecordType[] = ['A', 'AAAA', 'SRV', 'PTR', 'NS', 'CNAME', 'SOA'];
const byNumber = new Map<number, RecordType>(recordTypes.map((type) => [types[type], type]));

/** `undefined` for types of which we have no records. */
export function recordTypeOf(qtype: number): RecordType | undefined {
  return byNumber.get(qtype);
}

export function addressData(address: IpAddress): RecordData {
  return { type: address.family === 4 ? 'A' : 'AAAA', address };
}

/** The data as one word, which tells records of a name apart: `9.0.1.3`, `x-abcde-s0.marathon.mesos.:8080`. */
export function dataText(data: RecordData): string {
  switch (data.type) {
    case 'A':
    case 'AAAA':
      return data.address.toString();
    case 'SRV':
      return `${data.target}.:${data.port}`;
    case 'PTR':
    case 'NS':
    case 'CNAME':
      return `${data.target}.`;
    case 'SOA':
      return `${data.mname}. ${data.rname}. 1 ${data.refresh} ${data.retry} ${data.expire} ${data.minimum}`;
  }
}
