#!/bin/sh
# Builds the program into dist/. Files of an earlier build go: what ends up in dist/ depends on the sources alone.
set -eu
cd "$(dirname "$0")/.."
rm -rf dist/chunks
# What it says on standard output is a line for each file; warnings and errors are not among it.
exec node_modules/.bin/rolldown --config rolldown.config.ts --log-level warn >/dev/null
