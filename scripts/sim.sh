#!/bin/sh
# Builds and runs the simulator: npm run sim -- [OPTIONS], see --help.
set -eu
cd "$(dirname "$0")/.."
built=dist-sim/.built
if [ ! -e "$built" ] || [ -n "$(find src sim tsconfig.json tsconfig.sim.json -newer "$built" -print -quit)" ]; then
  mkdir -p dist-sim
  # The time before the build: what is edited meanwhile is built next time.
  touch "$built.new"
  node_modules/.bin/tsc -p tsconfig.sim.json
  mv "$built.new" "$built"
fi
exec node --max-old-space-size=8192 dist-sim/sim/main.js "$@"
