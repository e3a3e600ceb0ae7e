{{/* Every name, label and selector comes from here. */}}

{{/* What all names start with: the release, and the chart's name unless the release already has it. */}}
{{- define "academy.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Name of a component's resources. Arguments: root, component. */}}
{{- define "academy.name" -}}
{{- printf "%s-%s" (include "academy.fullname" .root) .component -}}
{{- end -}}

{{/* Name of a cluster-wide resource: two releases must not share one. Arguments: root, component. */}}
{{- define "academy.clusterName" -}}
{{- printf "%s-%s-%s" .root.Release.Namespace (include "academy.fullname" .root) .component -}}
{{- end -}}

{{/* What selects a component's pods; never changes. Arguments: root, component. */}}
{{- define "academy.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Labels of everything. Arguments: root, component. */}}
{{- define "academy.labels" -}}
{{ include "academy.selector" . }}
app.kubernetes.io/part-of: academy
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Metadata of a component's resource. Arguments: root, component, name (optional). */}}
{{- define "academy.metadata" -}}
name: {{ .name | default (include "academy.name" .) }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "academy.labels" . | nindent 2 }}
{{- end -}}

{{/* An image's reference: a digest wins over a tag. Arguments: root, image (its key in .Values.images). */}}
{{- define "academy.image" -}}
{{- $images := .root.Values.images -}}
{{- $image := index $images .image -}}
{{- $repository := $image.repository -}}
{{- if and $images.registry (not $image.external) -}}
{{- $repository = printf "%s/%s" $images.registry $repository -}}
{{- end -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository ($image.tag | default $images.tag | default .root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* Name of the Secret that a component reads. Arguments: root, secret (its key in .Values.secrets.names). */}}
{{- define "academy.secret" -}}
{{- index .root.Values.secrets.names .secret -}}
{{- end -}}
