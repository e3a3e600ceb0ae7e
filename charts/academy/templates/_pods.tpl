{{/* What every pod has: Pod Security "restricted", no token unless it is asked for, its priority. */}}

{{- define "academy.podSecurity" -}}
runAsNonRoot: true
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "academy.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Head of a pod's spec. Arguments: root, component, priority (high or low), token (default false). */}}
{{- define "academy.podHead" -}}
serviceAccountName: {{ include "academy.name" . }}
automountServiceAccountToken: {{ .token | default false }}
enableServiceLinks: false
# A process that is PID 1 ignores SIGTERM until it has a handler: told to stop while it starts, it would work on until it
# is killed, and take what it was doing along.
shareProcessNamespace: true
priorityClassName: {{ include "academy.clusterName" (dict "root" .root "component" .priority) }}
securityContext:
  {{- include "academy.podSecurity" . | nindent 2 }}
{{- with .root.Values.images.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Image, pull policy and security of a container. Arguments: root, image. */}}
{{- define "academy.container" -}}
image: {{ include "academy.image" . }}
imagePullPolicy: {{ .root.Values.images.pullPolicy }}
securityContext:
  {{- include "academy.containerSecurity" . | nindent 2 }}
{{- end -}}

{{/* Replicas apart from each other where there is room. Arguments: root, component. */}}
{{- define "academy.spread" -}}
topologySpreadConstraints:
  {{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "academy.selector" $ | nindent 8 }}
  {{- end }}
{{- end -}}

{{/* A PodDisruptionBudget, from two replicas on: with one it would block every drain. Arguments: root, component, replicas. */}}
{{- define "academy.pdb" -}}
{{- if ge (int .replicas) 2 -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "academy.metadata" . | nindent 2 }}
spec:
  maxUnavailable: 1
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "academy.selector" . | nindent 6 }}
{{- end -}}
{{- end -}}

{{/* A ServiceAccount. Its AWS role: an IRSA annotation, or none with Pod Identity. Arguments: root, component, role (key in .Values.aws.roles). */}}
{{- define "academy.serviceAccount" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  {{- include "academy.metadata" . | nindent 2 }}
  {{- with (get .root.Values.aws.roles (.role | default "")) }}
  annotations:
    eks.amazonaws.com/role-arn: {{ . }}
  {{- end }}
automountServiceAccountToken: false
{{- end -}}

{{/* A ClusterIP Service with one port named http. Arguments: root, component, port. */}}
{{- define "academy.service" -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "academy.metadata" . | nindent 2 }}
spec:
  selector:
    {{- include "academy.selector" . | nindent 4 }}
  ports:
    - name: {{ .portName | default "http" }}
      port: {{ .port }}
      targetPort: {{ .portName | default "http" }}
{{- end -}}

{{/* What Prometheus scrapes, where there is one. Arguments: root, component. */}}
{{- define "academy.podMonitor" -}}
{{- if .root.Values.monitoring.enabled -}}
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata:
  {{- include "academy.metadata" . | nindent 2 }}
  {{- with .root.Values.monitoring.labels }}
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  selector:
    matchLabels:
      {{- include "academy.selector" . | nindent 6 }}
  podMetricsEndpoints:
    - port: {{ .portName | default "metrics" }}
      interval: {{ .root.Values.monitoring.interval }}
{{- end -}}
{{- end -}}
