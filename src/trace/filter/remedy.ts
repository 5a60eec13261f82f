/** What lets a packet pass that another program's rule drops: in the words of the program that the rule is of. */
import type { FilterTable, Site } from './rules.ts';
import type { Passage } from './hooks.ts';

export interface Dropped {
  readonly protocol: 'tcp' | 'udp' | 'icmp';
  readonly destination: string;
  /** Absent where it is not the service's, as an answer's. */
  readonly port: number | undefined;
}

export function dropRemedy(site: Site, table: FilterTable, passage: Passage, packet: Dropped): string {
  if (site.table === 'firewalld') return firewalldRemedy(passage, packet);
  if (site.chain.startsWith('ufw')) return ufwRemedy(passage, packet);
  if (isIptables(site, table)) return `let it pass: ${iptablesCommand(site, table, passage, packet)}`;
  const { family, chain } = site;
  return `let it pass: nft insert rule ${family} ${site.table} ${chain} ${nftMatch(passage, packet)} accept`;
}

/** iptables-nft's tables are plain ones: by its names for them and for the kernel's chains. */
function isIptables({ family, table: name, legacy }: Site, { chains }: FilterTable): boolean {
  if (legacy) return true;
  const own = ['filter', 'nat', 'mangle', 'raw', 'security'].includes(name) && family !== 'inet';
  return (
    own && Array.from(chains.values()).some(({ base }) => base !== undefined && isUpper(base.hook, chains))
  );
}

const isUpper = (hook: string, chains: FilterTable['chains']): boolean => chains.has(hook.toUpperCase());

function iptablesCommand(site: Site, { chains }: FilterTable, passage: Passage, packet: Dropped): string {
  const program = `${site.family === 'ip6' ? 'ip6tables' : 'iptables'}${site.legacy ? '-legacy' : ''}`;
  const table = site.table === 'filter' ? '' : ` -t ${site.table}`;
  // Docker writes its chains and FORWARD anew; DOCKER-USER is the administrator's, and comes first.
  const isDockers = passage.hook === 'forward' && site.table === 'filter' && chains.has('DOCKER-USER');
  const chain = isDockers ? 'DOCKER-USER' : site.chain;
  return `${program}${table} -I ${chain} ${iptablesMatch(passage, packet)} -j ACCEPT`;
}

function iptablesMatch({ hook, iif, oif }: Passage, { protocol, destination, port }: Dropped): string {
  const devices = [...(iif === '' ? [] : ['-i', iif]), ...(oif === '' ? [] : ['-o', oif])];
  if (hook === 'forward' || port === undefined) return devices.join(' ');
  return hook === 'input' || hook === 'output'
    ? `-p ${protocol} --dport ${port}`
    : [...devices, '-d', destination].join(' ');
}

function nftMatch({ hook, iif, oif }: Passage, { protocol, destination, port }: Dropped): string {
  const devices = [...(iif === '' ? [] : [`iifname "${iif}"`]), ...(oif === '' ? [] : [`oifname "${oif}"`])];
  if (hook === 'forward' || port === undefined) return devices.join(' ');
  return hook === 'input' || hook === 'output'
    ? `${protocol} dport ${port}`
    : [...devices, `${destination.includes(':') ? 'ip6' : 'ip'} daddr ${destination}`].join(' ');
}

function firewalldRemedy({ hook, iif, oif }: Passage, { protocol, port }: Dropped): string {
  if (hook === 'input' && port !== undefined && protocol !== 'icmp')
    return `let it pass: firewall-cmd --permanent --add-port=${port}/${protocol}, then firewall-cmd --reload`;
  const device = iif === '' ? oif : iif;
  return `let it pass: firewall-cmd --permanent --zone=trusted --add-interface=${device}, then firewall-cmd --reload`;
}

function ufwRemedy({ hook, iif, oif }: Passage, { protocol, port }: Dropped): string {
  if (hook === 'forward') return `let it pass: ufw route allow in on ${iif} out on ${oif}`;
  const direction = hook === 'output' ? 'out' : 'in';
  if (port !== undefined && protocol !== 'icmp')
    return `let it pass: ufw allow ${direction} ${port}/${protocol}`;
  return `let it pass: ufw allow ${direction} on ${direction === 'out' ? oif : iif}`;
}
