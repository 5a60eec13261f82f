/** Numbers of the DNS protocol (RFC 1035, 2782, 3596, 6891) that more than one file needs. */

export const types = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  AAAA: 28,
  SRV: 33,
  OPT: 41,
  IXFR: 251,
  AXFR: 252,
  ANY: 255,
} as const;

export const classes = { IN: 1, ANY: 255 } as const;

export const rcodes = {
  NOERROR: 0,
  FORMERR: 1,
  SERVFAIL: 2,
  NXDOMAIN: 3,
  NOTIMP: 4,
  REFUSED: 5,
  /** RFC 6891; its upper bits travel in the OPT record. */
  BADVERS: 16,
} as const;

export const HEADER_BYTES = 12;
/** Of a name in wire form, its end included (RFC 1035, 2.3.4). */
export const NAME_BYTES_MAX = 255;
export const LABEL_BYTES_MAX = 63;
/** What a client without EDNS takes by UDP. */
export const UDP_BYTES_MIN = 512;
/** What we send by UDP at most, whatever the client would take. */
export const UDP_BYTES_MAX = 4096;
export const TCP_BYTES_MAX = 65_535;
/** What we ask upstreams for: no datagram of it is fragmented anywhere (dnsflagday.net/2020). */
export const UPSTREAM_UDP_BYTES = 1232;

/** Flags in the third and fourth byte of the header. */
export const flags = {
  QR: 0x80,
  OPCODE: 0x78,
  AA: 0x04,
  TC: 0x02,
  RD: 0x01,
  RA: 0x80,
  AD: 0x20,
  CD: 0x10,
} as const;
