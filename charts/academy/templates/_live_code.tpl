{{/*
Python code that `skaffold dev` may replace in a running pod (values: development.liveCode). The image's code is copied
where the pod's user can write; root file systems stay read-only. Nothing of it is rendered otherwise.
*/}}

{{/* An initial container that copies. Arguments: root, image. */}}
{{- define "academy.liveCodeInit" -}}
{{- if .root.Values.development.liveCode }}
- name: code
  {{- include "academy.container" . | nindent 2 }}
  command: [cp, -r, /opt/academy/app/., /var/academy/code]
  resources:
    requests: {cpu: 10m, memory: 32Mi}
    limits: {memory: 64Mi}
  volumeMounts:
    - name: code
      mountPath: /var/academy/code
{{- end }}
{{- end -}}

{{- define "academy.liveCodeEnv" -}}
{{- if .Values.development.liveCode }}
- name: PYTHONPATH
  value: /var/academy/code
{{- /* The image's byte code is taken without a look at its source: a saved file would be ignored. */}}
- name: PYTHONPYCACHEPREFIX
  value: /var/academy/code/.byte-code
{{- end }}
{{- end -}}

{{- define "academy.liveCodeMount" -}}
{{- if .Values.development.liveCode }}
- name: code
  mountPath: /var/academy/code
{{- end }}
{{- end -}}

{{- define "academy.liveCodeVolume" -}}
{{- if .Values.development.liveCode }}
- name: code
  emptyDir: {}
{{- end }}
{{- end -}}
