#!/bin/sh
# Every test, from a clean clone: set-up, static checks, then unit, kernel and end-to-end tests.
# The last line is "N passed, N failed".
set -u
cd "$(dirname "$0")/.." || exit 1
sh scripts/setup.sh --tests || exit 1
npm run --silent lint || exit 1
report=$(mktemp)
trap 'rm -f "$report"' EXIT
npx --no-install vitest run --reporter=default --reporter=json --outputFile.json="$report" "$@"
status=$?
node scripts/test-summary.mjs "$report" || status=1
exit $status
