#!/usr/bin/env bash
# Regenerates in a copy of the tree, with the controller-gen binary $1, and compares: the tree itself is left alone.
set -euo pipefail
controller_gen=$1
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT

for path in go.mod go.sum api config charts hack; do
  cp -R "$path" "$copy/"
done
hack/generate.sh "$controller_gen" "$copy"
for path in api config charts; do
  if ! diff -ru "$path" "$copy/$path"; then
    echo "generated files below $path/ are stale: run make generate and commit the result" >&2
    exit 1
  fi
done
