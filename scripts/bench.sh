#!/bin/sh
# Builds and runs the benches: npm run bench [-- NAME[/PART]...] [-- --write]
set -eu
cd "$(dirname "$0")/.."
sh scripts/setup.sh --tests
npx --no-install tsc -p tsconfig.bench.json
exec node dist-bench/bench/run.js "$@"
