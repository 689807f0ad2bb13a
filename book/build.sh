#!/usr/bin/env bash
# Gathers pages, executed notebooks and what they link to, then builds the book, which executes nothing itself.
set -euo pipefail
cd "$(dirname "$0")/.."
source=build/book/source
for notebook in build/executed/*.ipynb; do
  python -m json.tool "$notebook" /dev/null 2>/dev/null && continue
  rm "$notebook"
  echo "$notebook was damaged and is removed: the same command makes it again" >&2
  exit 1
done
rm -rf build/book
mkdir -p "$source/extra"
cp -r book/. "$source/"
cp build/executed/*.ipynb "$source/"
cp -r figures notebooks results simulations "$source/extra/"
find "$source" -name __pycache__ -prune -exec rm -rf {} +
jupyter-book build "$source" --config _config.yml --path-output build/book \
  -W --keep-going --quiet
