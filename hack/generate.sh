#!/usr/bin/env bash
# Regenerates what is generated, below directory $2 (a tree of this repository), with the controller-gen binary $1.
set -euo pipefail
controller_gen=$1
cd "$2"

"$controller_gen" object crd paths=./api/v1alpha1 output:crd:dir=config/crd/bases

chart=charts/replicatedstore-operator/files
crd=config/crd/bases/replicatedstore.io_replicatedstores.yaml
mkdir -p "$chart"
cp "$crd" "$chart/crd.yaml"
{
  echo "# Made from config/rbac/role.yaml by make generate. DO NOT EDIT."
  sed -n '/^rules:$/,$p' config/rbac/role.yaml
} >"$chart/operator-rules.yaml"
sed '1i # Made from config/rbac/users.yaml by make generate. DO NOT EDIT.' config/rbac/users.yaml >"$chart/user-roles.yaml"
