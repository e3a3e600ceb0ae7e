{{/* Arguments: root, component. */}}
{{- define "dev.name" -}}
{{- printf "%s-%s" (.root.Release.Name | trunc 40 | trimSuffix "-") .component -}}
{{- end -}}

{{- define "dev.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "dev.labels" -}}
{{ include "dev.selector" . }}
app.kubernetes.io/part-of: academy
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end -}}

{{- define "dev.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/*
What was drawn when the release was installed, and again only where it is not there: as JSON, so that one rendering
draws once. The first caller draws; the others read it from the release's values.
*/}}
{{- define "dev.drawn" -}}
{{- if not (hasKey .Values "drawn") -}}
{{- $kept := (lookup "v1" "Secret" .Release.Namespace (include "dev.name" (dict "root" . "component" "drawn"))).data | default dict -}}
{{- $drawn := dict -}}
{{- range list "admin" "app" "migrate" "secret-key" "signing" "token-video" "token-ai-cpu" "token-ai-gpu" "token-relay" "director" -}}
{{- $_ := set $drawn . (ternary (get $kept . | b64dec) (randAlphaNum 56) (hasKey $kept .)) -}}
{{- end -}}
{{- if hasKey $kept "ca.crt" -}}
{{- range list "ca.crt" "tls.crt" "tls.key" -}}
{{- $_ := set $drawn . (get $kept . | b64dec) -}}
{{- end -}}
{{- else -}}
{{- $host := include "dev.name" (dict "root" . "component" "postgres") -}}
{{- $ca := genCA "academy-dev" 3650 -}}
{{- $certificate := genSignedCert $host (list "127.0.0.1") (list $host (printf "%s.%s" $host .Release.Namespace) (printf "%s.%s.svc.cluster.local" $host .Release.Namespace) "localhost") 3650 $ca -}}
{{- $_ := set $drawn "ca.crt" $ca.Cert -}}
{{- $_ := set $drawn "tls.crt" $certificate.Cert -}}
{{- $_ := set $drawn "tls.key" $certificate.Key -}}
{{- end -}}
{{- $_ := set .Values "drawn" $drawn -}}
{{- end -}}
{{- .Values.drawn | toJson -}}
{{- end -}}

{{/* A Secret. Arguments: root, name, data. */}}
{{- define "dev.secret" -}}
---
apiVersion: v1
kind: Secret
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "dev.labels" (dict "root" .root "component" "secret") | nindent 4 }}
stringData:
  {{- toYaml .data | nindent 2 }}
{{ end -}}
