/** Schemas for addresses in text form: values inside the program are parsed, files and wires carry text. */
import { z } from 'zod';
import { parseInterfaceAddress, parseIp, parsePrefix } from '../base/ip.ts';
import { parseMac } from '../base/mac.ts';

/** `9.0.0.0/8`, host bits zero. */
export const prefixText = z.string().refine((text) => parsePrefix(text) !== undefined, {
  error: (issue) => `"${String(issue.input)}" is not a network such as 9.0.0.0/8 (host bits must be 0)`,
});
/** `44.128.0.1/20` */
export const interfaceAddressText = z.string().refine((text) => parseInterfaceAddress(text) !== undefined, {
  error: (issue) => `"${String(issue.input)}" is not an address with prefix length such as 44.128.0.1/20`,
});
export const ipText = z.string().refine((text) => parseIp(text) !== undefined, {
  error: (issue) => `"${String(issue.input)}" is not an IPv4 or IPv6 address`,
});
export const macText = z.string().refine((text) => parseMac(text) !== undefined, {
  error: (issue) => `"${String(issue.input)}" is not a MAC address such as 70:b3:d5:80:00:01`,
});
