{{/* The pod that migrates: its hash is in the Job's name, so that whatever changes it runs it again, once. */}}
{{- define "academy.migratePod" -}}
{{- $who := dict "root" . "component" "migrate" -}}
metadata:
  labels:
    {{- include "academy.labels" $who | nindent 4 }}
  annotations:
    {{- include "academy.apiChecksum" . | nindent 4 }}
    {{- with .Values.migrate.retry }}
    academy.hakwonplus.com/retry: {{ . | quote }}
    {{- end }}
spec:
  {{- include "academy.podHead" (merge (dict "priority" "high") $who) | nindent 2 }}
  restartPolicy: Never
  terminationGracePeriodSeconds: 60
  {{- if ne .Values.migrate.backup "none" }}
  initContainers:
    - name: backup
      {{- include "academy.container" (dict "root" . "image" "api") | nindent 6 }}
      command: [python, -m, academy_api.manage, backup, --if-pending, --mode={{ .Values.migrate.backup }}]
      {{- include "academy.migrateEnv" . | nindent 6 }}
      resources:
        {{- toYaml .Values.migrate.resources | nindent 8 }}
      volumeMounts:
        {{- include "academy.apiMounts" . | nindent 8 }}
  {{- end }}
  containers:
    - name: migrate
      {{- include "academy.container" (dict "root" . "image" "api") | nindent 6 }}
      command: [python, -m, academy_api.manage, release, --bootstrap=/etc/academy/bootstrap]
      {{- include "academy.migrateEnv" . | nindent 6 }}
      resources:
        {{- toYaml .Values.migrate.resources | nindent 8 }}
      volumeMounts:
        {{- include "academy.apiMounts" . | nindent 8 }}
        - name: bootstrap
          mountPath: /etc/academy/bootstrap
          readOnly: true
  volumes:
    {{- include "academy.apiVolumes" . | nindent 4 }}
    - name: bootstrap
      secret:
        secretName: {{ include "academy.secret" (dict "root" . "secret" "bootstrap") }}
        optional: true
{{- end -}}

{{/* As the migrating role, past the pooler. */}}
{{- define "academy.migrateEnv" -}}
envFrom:
  {{- include "academy.apiEnvFrom" (dict "root" . "secret" "migrate") | nindent 2 }}
env:
  - name: DB_APP_ROLE
    value: {{ .Values.database.appRole }}
  {{- include "academy.directEnv" (dict "root" . "role" .Values.database.migrateRole) | nindent 2 }}
  - name: R2_BACKUP_BUCKET
    value: {{ .Values.r2.buckets.backup.name }}
  {{- if eq .Values.migrate.backup "snapshot" }}
  - name: RDS_INSTANCE_ID
    value: {{ required "migrate.rdsInstance is needed with migrate.backup: snapshot" .Values.migrate.rdsInstance }}
  {{- end }}
{{- end -}}

{{/* Seconds that a pod waits for the Job: its deadline, and the time in which a Job that is stopped says why. */}}
{{- define "academy.migratedSeconds" -}}
{{- add (int .Values.migrate.deadlineSeconds) 120 -}}
{{- end -}}

{{/* Seconds after which a rollout has failed: that wait, then Kubernetes' own default for whatever else a pod needs. */}}
{{- define "academy.progressSeconds" -}}
{{- add (include "academy.migratedSeconds" . | int) 600 -}}
{{- end -}}

{{- define "academy.migrateName" -}}
{{- printf "%s-%s" (include "academy.name" (dict "root" . "component" "migrate")) (include "academy.migratePod" . | sha256sum | trunc 10) -}}
{{- end -}}
