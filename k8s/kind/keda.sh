#!/usr/bin/env bash
# Installs KEDA into the current cluster, or does nothing where it is. Usage: k8s/kind/keda.sh
# The version is the one the charts are tested with (docs/services/charts.md).
set -euo pipefail
version=2.20.2
if kubectl get crd scaledobjects.keda.sh >/dev/null 2>&1; then
    exit 0
fi
# Server-side: KEDA's CRDs are too large for the annotation of a client-side apply.
kubectl apply --server-side -f "https://github.com/kedacore/keda/releases/download/v$version/keda-$version.yaml"
kubectl -n keda wait --for=condition=Available --timeout=180s deployment --all
