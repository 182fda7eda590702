#!/bin/sh
# Installs the project in three ways, each into a new environment, and runs the smoke check there,
# away from the source tree.
# usage: install_check.sh PYTHON [wheel|sdist|editable ...]
set -eu
python=$1
shift
top=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A copy, so that nothing is built in the tree and nothing left over in it is used.
mkdir "$work/source"
(cd "$top" && tar cf - --exclude .git --exclude '.venv*' --exclude build --exclude dist \
  --exclude '*.so' .) | tar xf - -C "$work/source"

check() {
  (cd "$work" && "$1/bin/python" "$top/tests/package/smoke.py")
}

install_wheel() {
  "$python" -m venv "$work/wheel"
  "$work/wheel/bin/python" -m pip install --quiet "$work/source"
  check "$work/wheel"
  echo "pip install .: ok"
}

install_sdist() {
  "$python" -m venv "$work/builder"
  "$work/builder/bin/python" -m pip install --quiet build
  (cd "$work/source" && "$work/builder/bin/python" -m build --quiet --sdist --outdir "$work/dist")
  "$python" -m venv "$work/sdist"
  "$work/sdist/bin/python" -m pip install --quiet "$work"/dist/actionqueue-*.tar.gz
  check "$work/sdist"
  echo "sdist: ok"
}

install_editable() {
  "$python" -m venv "$work/editable"
  "$work/editable/bin/python" -m pip install --quiet --editable "$work/source"
  check "$work/editable"
  echo "editable: ok"
}

[ $# -gt 0 ] || set -- wheel sdist editable
for way in "$@"; do
  "install_$way"
done
