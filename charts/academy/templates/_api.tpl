{{/*
The API's Deployment, public or internal, without its replicas. Arguments: root, component, serves, values.

A pod that goes away: its address leaves the load balancer while preStop waits, then gunicorn ends what it has under
way within its graceful timeout (25 s, academy_api.gunicorn_conf), and only then the grace period ends.
*/}}
{{- define "academy.apiDeployment" -}}
progressDeadlineSeconds: {{ include "academy.progressSeconds" .root }}
strategy:
  rollingUpdate:
    maxUnavailable: 0
    maxSurge: 1
selector:
  matchLabels:
    {{- include "academy.selector" . | nindent 4 }}
template:
  metadata:
    labels:
      {{- include "academy.labels" . | nindent 6 }}
    annotations:
      {{- include "academy.apiChecksum" .root | nindent 6 }}
  spec:
    {{- include "academy.podHead" (merge (dict "component" "api" "priority" "high") .) | nindent 4 }}
    terminationGracePeriodSeconds: {{ include "academy.apiGraceSeconds" .root }}
    {{- include "academy.spread" . | nindent 4 }}
    initContainers:
      {{- include "academy.liveCodeInit" (dict "root" .root "image" "api") | nindent 6 }}
      - name: migrated
        {{- include "academy.container" (dict "root" .root "image" "api") | nindent 8 }}
        command: [python, -m, academy_api.manage, await_migrations, --seconds={{ include "academy.migratedSeconds" .root }}]
        envFrom:
          {{- include "academy.apiEnvFrom" (dict "root" .root "secret" "api") | nindent 10 }}
        env:
          {{- include "academy.databaseEnv" .root | nindent 10 }}
        resources:
          requests: {cpu: 50m, memory: 128Mi}
          limits: {memory: 256Mi}
        volumeMounts:
          {{- include "academy.apiMounts" .root | nindent 10 }}
    containers:
      - name: api
        {{- include "academy.container" (dict "root" .root "image" "api") | nindent 8 }}
        command: [python, -m, gunicorn, -c, "python:academy_api.gunicorn_conf", --bind=0.0.0.0:8000, academy_api.wsgi]
        envFrom:
          {{- include "academy.apiEnvFrom" (dict "root" .root "secret" "api") | nindent 10 }}
        env:
          - name: API_SERVES
            value: {{ .serves }}
          {{- include "academy.podIp" . | nindent 10 }}
          {{- include "academy.databaseEnv" .root | nindent 10 }}
          {{- include "academy.liveCodeEnv" .root | nindent 10 }}
        ports:
          - name: http
            containerPort: 8000
        # Asked at the address itself: the Host header must be one the API knows.
        startupProbe:
          httpGet: {path: /health, port: http, httpHeaders: [{name: Host, value: localhost}]}
          periodSeconds: 2
          failureThreshold: 60
        readinessProbe:
          httpGet: {path: /ready, port: http, httpHeaders: [{name: Host, value: localhost}]}
          periodSeconds: 5
          timeoutSeconds: 5
        livenessProbe:
          httpGet: {path: /health, port: http, httpHeaders: [{name: Host, value: localhost}]}
          periodSeconds: 10
          timeoutSeconds: 5
          failureThreshold: 6
        lifecycle:
          preStop:
            sleep:
              seconds: {{ .root.Values.api.deregistrationSeconds }}
        resources:
          {{- toYaml .values.resources | nindent 10 }}
        volumeMounts:
          {{- include "academy.apiMounts" .root | nindent 10 }}
          {{- include "academy.liveCodeMount" .root | nindent 10 }}
    volumes:
      {{- include "academy.apiVolumes" .root | nindent 6 }}
      {{- include "academy.liveCodeVolume" .root | nindent 6 }}
{{- end -}}

{{/* Seconds: preStop, gunicorn's graceful timeout of 25 s, and room. */}}
{{- define "academy.apiGraceSeconds" -}}
{{- add (int .Values.api.deregistrationSeconds) 25 10 -}}
{{- end -}}

{{/*
How an api image's container speaks to Postgres: the pooler is in the cluster and takes no TLS; Postgres is verified. The
role is here and not in the ConfigMap, because its password is in a Secret that the pod names: of a pod of the previous
release that starts again, both are the previous release's.
*/}}
{{- define "academy.databaseEnv" -}}
- name: DB_USER
  value: {{ .Values.database.appRole }}
- name: DB_SSLMODE
  value: {{ ternary "disable" .Values.database.tls.mode .Values.pgbouncer.enabled }}
- name: DB_DIRECT_SSLMODE
  value: {{ .Values.database.tls.mode }}
- name: DB_SSLROOTCERT
  value: /etc/academy/database-ca/ca.pem
{{- end -}}

{{/*
Past the pooler also for what is Django's own connection: migrations, and waiting for them in the relay. Arguments: root,
role.
*/}}
{{- define "academy.directEnv" -}}
- name: DB_USER
  value: {{ .role }}
- name: DB_HOST
  value: {{ .root.Values.database.host }}
- name: DB_PORT
  value: {{ .root.Values.database.port | quote }}
- name: DB_SSLMODE
  value: {{ .root.Values.database.tls.mode }}
- name: DB_SSLROOTCERT
  value: /etc/academy/database-ca/ca.pem
{{- end -}}

{{- define "academy.apiMounts" -}}
- name: tmp
  mountPath: /tmp
- name: shm
  mountPath: /dev/shm
{{ include "academy.databaseCaMount" . }}
{{- end -}}

{{- define "academy.apiVolumes" -}}
- name: tmp
  emptyDir: {sizeLimit: 256Mi}
# gunicorn's heartbeat files and the metrics of its processes.
- name: shm
  emptyDir: {medium: Memory, sizeLimit: 64Mi}
{{ include "academy.databaseCaVolume" . }}
{{- end -}}
