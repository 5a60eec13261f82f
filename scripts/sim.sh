#!/bin/sh
# Builds and runs the simulator: npm run sim -- [OPTIONS], see --help; npm run sim:long for every scenario at full size.
set -eu
cd "$(dirname "$0")/.."
program=main
if [ "${1:-}" = long ]; then
  program=long
  shift
fi
built=dist-sim/.built
if [ ! -e "$built" ] || [ -n "$(find src sim tsconfig.json tsconfig.sim.json -newer "$built" -print -quit)" ]; then
  mkdir -p dist-sim
  # The time before the build: what is edited meanwhile is built next time.
  touch "$built.new"
  node_modules/.bin/tsc -p tsconfig.sim.json
  mv "$built.new" "$built"
fi
# Young objects of a thousand nodes: collected too early, they are moved instead of forgotten.
exec node --max-old-space-size=8192 --max-semi-space-size=256 "dist-sim/sim/$program.js" "$@"
