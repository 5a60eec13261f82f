/** A tiny image for lab hosts, made from the machine's static busybox: no registry is asked. */
import { PortolanError } from '../base/errors.ts';
import { mustRun, runCommand } from '../runtime/command.ts';
import { callDocker } from '../runtime/docker-http.ts';

export const BUSYBOX_IMAGE = 'portolan/busybox';
const IMPORT_TIMEOUT_MS = 30_000;

/** `docker import` of a tree with only `/bin`; every applet is a hard link to one file. */
const importScript = `
dir=$(mktemp -d -t portolan-busybox-XXXXXX)
trap 'rm -rf "$dir"' EXIT
mkdir -p "$dir/bin" "$dir/tmp" "$dir/proc" "$dir/sys" "$dir/etc"
cp "$(command -v busybox)" "$dir/bin/busybox"
"$dir/bin/busybox" --install "$dir/bin"
tar -C "$dir" -c . | docker -H "unix://$1" import - "$2" >/dev/null
`;

/** Makes sure the daemon at `socket` has the image. */
export async function ensureBusyboxImage(socket: string): Promise<void> {
  const known = await callDocker(socket, { method: 'GET', path: `/images/${BUSYBOX_IMAGE}/json` });
  if (known !== undefined) return;
  const linked = await runCommand(['sh', '-c', 'ldd "$(command -v busybox)"'], {
    timeoutMs: IMPORT_TIMEOUT_MS,
  });
  if (linked.status === 0)
    throw new PortolanError('unavailable', 'Cannot make a busybox image: the busybox here needs libraries', {
      remedy: 'install the package busybox-static',
    });
  await mustRun(['sh', '-ec', importScript, 'import', socket, BUSYBOX_IMAGE], {
    timeoutMs: IMPORT_TIMEOUT_MS,
  });
}
