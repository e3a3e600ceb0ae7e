{{/*
NetworkPolicies: nothing in or out but what docs/services/charts.md lists. Each component's policy is put together from
the rules below. What the policies cannot do: tell one public address from another. Cloudflare and AWS have no addresses
of their own to name here, so "443 to the Internet" is the rule, less the cluster, the VPC and link-local addresses
(the instance metadata service among them).
*/}}

{{- define "academy.networkPolicyHead" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "academy.metadata" . | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "academy.selector" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
{{- end -}}

{{/* A peer: the pods of a component. Arguments: root, component. */}}
{{- define "academy.peer" -}}
- podSelector:
    matchLabels:
      {{- include "academy.selector" . | nindent 6 }}
{{- end -}}

{{/* Ingress from components on a port. Arguments: root, from (list), port. */}}
{{- define "academy.fromComponents" -}}
- from:
    {{- range .from }}
    {{- include "academy.peer" (dict "root" $.root "component" .) | nindent 4 }}
    {{- end }}
  ports:
    - port: {{ .port }}
      protocol: TCP
{{- end -}}

{{/* Egress to a component. Arguments: root, to, port. */}}
{{- define "academy.toComponent" -}}
- to:
    {{- include "academy.peer" (dict "root" .root "component" .to) | nindent 4 }}
  ports:
    - port: {{ .port }}
      protocol: TCP
{{- end -}}

{{/* Ingress from a namespace by its name. Arguments: namespace, port. */}}
{{- define "academy.fromNamespace" -}}
- from:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: {{ .namespace }}
  ports:
    - port: {{ .port }}
      protocol: TCP
{{- end -}}

{{- define "academy.toDns" -}}
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: kube-system
      podSelector:
        matchLabels:
          k8s-app: kube-dns
    {{- range .Values.networkPolicy.dnsCidrs }}
    - ipBlock:
        cidr: {{ . }}
    {{- end }}
  ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
{{- end -}}

{{/* Postgres itself. */}}
{{- define "academy.toDatabase" -}}
- to:
    {{- range .Values.networkPolicy.databaseCidrs }}
    - ipBlock:
        cidr: {{ . }}
    {{- end }}
  ports:
    - port: {{ .Values.database.port }}
      protocol: TCP
{{- end -}}

{{/* SQS, R2, Cloudflare: public services, and AWS's through the VPC endpoints that are named. */}}
{{- define "academy.toPublicServices" -}}
- to:
    - ipBlock:
        cidr: 0.0.0.0/0
        except:
          {{- range concat .Values.networkPolicy.clusterCidrs .Values.networkPolicy.vpcCidrs (list "169.254.0.0/16") | uniq }}
          - {{ . }}
          {{- end }}
  ports:
    - port: 443
      protocol: TCP
{{- range $name, $cidrs := .Values.networkPolicy.vpcEndpoints }}
# VPC endpoint: {{ $name }}
- to:
    {{- range $cidrs }}
    - ipBlock:
        cidr: {{ . }}
    {{- end }}
  ports:
    - port: 443
      protocol: TCP
{{- end }}
{{- end -}}

{{/* The EKS Pod Identity agent of the node: the only link-local address that is allowed. */}}
{{- define "academy.toPodIdentity" -}}
- to:
    - ipBlock:
        cidr: 169.254.170.23/32
  ports:
    - port: 80
      protocol: TCP
{{- end -}}

{{- define "academy.toApiServer" -}}
- to:
    {{- range .Values.networkPolicy.apiServerCidrs }}
    - ipBlock:
        cidr: {{ . }}
    {{- end }}
  ports:
    - port: {{ .Values.networkPolicy.apiServerPort }}
      protocol: TCP
{{- end -}}

{{/* Prometheus on a component's metrics. Arguments: root, port. */}}
{{- define "academy.fromPrometheus" -}}
{{- if .root.Values.monitoring.enabled }}
{{ include "academy.fromNamespace" (dict "namespace" .root.Values.monitoring.namespace "port" .port) }}
{{- end }}
{{- end -}}

{{/* A worker's policy. Arguments: root, component. */}}
{{- define "academy.workerNetworkPolicy" -}}
{{ include "academy.networkPolicyHead" . }}
  ingress:
    {{- include "academy.fromPrometheus" (dict "root" .root "port" 9100) | nindent 4 }}
  egress:
    {{- include "academy.toDns" .root | nindent 4 }}
    {{- include "academy.toComponent" (dict "root" .root "to" (ternary "api-internal" "api" .root.Values.apiInternal.enabled) "port" 8000) | nindent 4 }}
    {{- include "academy.toPublicServices" .root | nindent 4 }}
    {{- include "academy.toPodIdentity" .root | nindent 4 }}
    {{- include "academy.toApiServer" .root | nindent 4 }}
{{- end -}}

{{/* Components that call the worker endpoints. */}}
{{- define "academy.internalCallers" -}}
{{- list "relay" "video-worker" "ai-worker-cpu" "ai-worker-gpu" | toJson -}}
{{- end -}}

{{- define "academy.apiEgress" -}}
{{ include "academy.toDns" . }}
{{ if .Values.pgbouncer.enabled -}}
{{ include "academy.toComponent" (dict "root" . "to" "pgbouncer" "port" 6432) }}
{{- else -}}
{{ include "academy.toDatabase" . }}
{{- end }}
{{ include "academy.toPublicServices" . }}
{{ include "academy.toPodIdentity" . }}
{{- end -}}
