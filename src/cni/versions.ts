/** The versions of the CNI specification that Portolan speaks, oldest first. */

export const SUPPORTED_VERSIONS = ['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'] as const;
export type CniVersion = (typeof SUPPORTED_VERSIONS)[number];

export const NEWEST_VERSION: CniVersion = '1.1.0';

export function isSupportedVersion(text: string): text is CniVersion {
  return (SUPPORTED_VERSIONS as readonly string[]).includes(text);
}

/** True when `version` is `least` or newer. */
export function atLeast(version: CniVersion, least: CniVersion): boolean {
  return SUPPORTED_VERSIONS.indexOf(version) >= SUPPORTED_VERSIONS.indexOf(least);
}

/** The answer to VERSION (CNI specification 1.1, section 2, "VERSION"): in the version that was asked with. */
export function versionAnswer(asked: string): { cniVersion: string; supportedVersions: readonly string[] } {
  return {
    cniVersion: isSupportedVersion(asked) ? asked : NEWEST_VERSION,
    supportedVersions: SUPPORTED_VERSIONS,
  };
}
