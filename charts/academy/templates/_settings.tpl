{{/* Environment variables (docs/settings.md), and where each comes from. */}}

{{- define "academy.apiBaseUrl" -}}
{{- $component := ternary "api-internal" "api" .Values.apiInternal.enabled -}}
http://{{ include "academy.name" (dict "root" . "component" $component) }}:8000
{{- end -}}

{{/* Settings that API and workers share. */}}
{{- define "academy.sharedSettings" -}}
LOG_LEVEL: {{ .Values.log.level }}
LOG_JSON: {{ .Values.log.json | quote }}
AWS_REGION: {{ .Values.aws.region }}
{{- with .Values.aws.sqsEndpoint }}
AWS_ENDPOINT_URL_SQS: {{ . }}
{{- end }}
VIDEO_SQS_QUEUE_NAME: {{ .Values.queues.video.name }}
AI_SQS_QUEUE_NAME_LITE: {{ .Values.queues.lite.name }}
AI_SQS_QUEUE_NAME_BASIC: {{ .Values.queues.basic.name }}
AI_SQS_QUEUE_NAME_PREMIUM: {{ .Values.queues.premium.name }}
R2_ENDPOINT: {{ .Values.r2.endpoint }}
R2_VIDEO_BUCKET: {{ .Values.r2.buckets.video.name }}
R2_AI_BUCKET: {{ .Values.r2.buckets.ai.name }}
R2_PREFIX: {{ .Values.r2.prefix }}
API_BASE_URL: {{ include "academy.apiBaseUrl" . }}
{{- end -}}

{{/* Settings of everything that runs the api image. */}}
{{- define "academy.apiSettings" -}}
{{ include "academy.sharedSettings" . }}
{{- with .Values.r2.publicBaseUrl }}
R2_PUBLIC_BASE_URL: {{ . }}
{{- end }}
DJANGO_SETTINGS_MODULE: academy_api.settings
SITE_URL: {{ .Values.site.url }}
TRUSTED_PROXIES: {{ .Values.site.trustedProxies | quote }}
CDN_HLS_BASE_URL: {{ .Values.playback.baseUrl }}
CDN_HLS_SIGNING_KEY_ID: {{ .Values.playback.signingKeyId }}
DB_NAME: {{ .Values.database.name }}
{{- if .Values.pgbouncer.enabled }}
DB_HOST: {{ include "academy.name" (dict "root" . "component" "pgbouncer") }}
DB_PORT: "6432"
DB_CONN_MAX_AGE: "0"
{{- else }}
DB_HOST: {{ .Values.database.host }}
DB_PORT: {{ .Values.database.port | quote }}
DB_CONN_MAX_AGE: "60"
{{- end }}
DB_MAX_CONCURRENCY: {{ .Values.database.maxConcurrency | quote }}
DB_DIRECT_HOST: {{ .Values.database.host }}
DB_DIRECT_PORT: {{ .Values.database.port | quote }}
GUNICORN_WORKERS: {{ .Values.api.gunicorn.workers | quote }}
GUNICORN_WORKER_CONNECTIONS: {{ .Values.api.gunicorn.workerConnections | quote }}
{{- end -}}

{{/* Settings of every worker. */}}
{{- define "academy.workerSettings" -}}
{{ include "academy.sharedSettings" . }}
METRICS_PORT: "9100"
{{- end -}}

{{/* envFrom of an api image's container: the ConfigMap, what all share, then the component's own. Arguments: root, secret. */}}
{{- define "academy.apiEnvFrom" -}}
- configMapRef:
    name: {{ include "academy.name" (dict "root" .root "component" "api") }}
- secretRef:
    name: {{ include "academy.secret" (dict "root" .root "secret" "app") }}
- secretRef:
    name: {{ include "academy.secret" . }}
{{- end -}}

{{/* The address that probes, scrapes and the load balancer call a pod by. */}}
{{- define "academy.podIp" -}}
- name: POD_IP
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
{{- end -}}

{{/* The database's CA, where libpq looks for it. */}}
{{- define "academy.databaseCaVolume" -}}
- name: database-ca
  secret:
    secretName: {{ .Values.database.tls.caSecret }}
    items:
      - key: {{ .Values.database.tls.caKey }}
        path: ca.pem
{{- end -}}

{{- define "academy.databaseCaMount" -}}
- name: database-ca
  mountPath: /etc/academy/database-ca
  readOnly: true
{{- end -}}

{{/* Changes with the settings, so that a pod is replaced when they do. */}}
{{- define "academy.apiChecksum" -}}
checksum/settings: {{ include "academy.apiSettings" . | sha256sum }}
{{- end -}}

{{- define "academy.workerChecksum" -}}
checksum/settings: {{ include "academy.workerSettings" . | sha256sum }}
{{- end -}}
