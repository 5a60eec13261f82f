#!/bin/sh
# The story of one IP per container, told on this machine in about a minute. Needs root; leaves nothing behind.
set -eu
cd "$(dirname "$0")/.."
if [ "$(id -u)" != 0 ]; then
  echo "demo: network namespaces need root: run \"sudo npm run demo\"" >&2
  exit 1
fi
sh scripts/setup.sh --demo
exec node dist/main.js lab demo "$@"
