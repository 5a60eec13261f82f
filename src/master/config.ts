/** The master's configuration file: ours, DC/OS's overlay JSON unchanged, or a bare `network` section. */
import { masterConfig, type MasterConfig } from '../model/config.ts';
import { loadConfigFile } from '../model/config-file.ts';

export const MASTER_CONFIG_PATH = '/etc/portolan/master.yaml';

export function loadMasterConfig(file: string | undefined): Promise<MasterConfig> {
  return loadConfigFile(masterConfig, file, MASTER_CONFIG_PATH, adaptMasterConfig);
}

/** A file that begins with what belongs below `network` is that section. */
export function adaptMasterConfig(raw: unknown): unknown {
  if (typeof raw !== 'object' || raw === null || 'network' in raw) return raw;
  return 'overlays' in raw || 'vtep_subnet' in raw ? { network: raw } : raw;
}
