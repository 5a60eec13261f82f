/** The configuration list that the agent writes for each overlay: what a runtime needs to attach to it. */
import { PLUGIN_TYPE } from './config.ts';
import { NEWEST_VERSION } from './versions.ts';

/**
 * `cniVersion` stays at a version every current runtime knows: one that does not read `cniVersions` (new in 1.1.0)
 * must still find a version it speaks.
 */
export function renderConflist(overlay: string): string {
  const list = {
    cniVersion: '0.4.0',
    cniVersions: ['0.4.0', '1.0.0', NEWEST_VERSION],
    name: overlay,
    plugins: [{ type: PLUGIN_TYPE, capabilities: { portMappings: true, ips: true, mac: true } }],
  };
  return `${JSON.stringify(list, null, 2)}\n`;
}
