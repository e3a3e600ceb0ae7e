{{/*
The three workers: what differs between them is in this table and in .Values.workers. KEDA owns the replicas, so a
Deployment states none, not even at first: charts/academy-operator's first-pods.yaml keeps its first ReplicaSet empty.
*/}}
{{- define "academy.workerTable" -}}
video:
  image: video
  command: [python, -m, academy_video.main]
  queues: [video]
  scratch: VIDEO_WORKER_TEMP_DIR
aiCpu:
  image: ai
  scratch: AI_WORKER_TEMP_DIR
  command: [python, -m, academy_ai.main, cpu]
  queues: [basic, lite]
aiGpu:
  image: aiGpu
  scratch: AI_WORKER_TEMP_DIR
  command: [python, -m, academy_ai.main, premium]
  queues: [premium]
{{- end -}}

{{/* Arguments: root, component, key. */}}
{{- define "academy.workerDeployment" -}}
{{- $worker := index .root.Values.workers .key -}}
{{- $fixed := index (include "academy.workerTable" . | fromYaml) .key -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "academy.metadata" . | nindent 2 }}
spec:
  strategy:
    rollingUpdate:
      # A rollout starts no pod beside those that KEDA wanted: on GPU nodes there would be no room for it.
      maxUnavailable: 1
      maxSurge: 0
  selector:
    matchLabels:
      {{- include "academy.selector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "academy.labels" . | nindent 8 }}
      annotations:
        {{- include "academy.workerChecksum" .root | nindent 8 }}
    spec:
      {{- include "academy.podHead" (merge (dict "priority" "low" "token" true) .) | nindent 6 }}
      # The task under way, then the long poll that is out, then the hand-back.
      terminationGracePeriodSeconds: {{ add (int $worker.shutdownGraceSeconds) 45 }}
      {{- with $worker.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $worker.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with include "academy.liveCodeInit" (dict "root" .root "image" $fixed.image) }}
      initContainers:
        {{- . | nindent 8 }}
      {{- end }}
      containers:
        - name: worker
          {{- include "academy.container" (dict "root" .root "image" $fixed.image) | nindent 10 }}
          command: {{ $worker.command | default $fixed.command | toJson }}
          envFrom:
            - configMapRef:
                name: {{ include "academy.name" (dict "root" .root "component" "worker") }}
            - secretRef:
                name: {{ include "academy.secret" (dict "root" .root "secret" .key) }}
          env:
            - name: SHUTDOWN_GRACE_SECONDS
              value: {{ $worker.shutdownGraceSeconds | quote }}
            - name: POD_NAME
              valueFrom:
                fieldRef:
                  fieldPath: metadata.name
            - name: {{ $fixed.scratch }}
              value: /var/academy/scratch
            # One setting for all queues of a worker: the shortest of theirs suits each.
            - name: SQS_VISIBILITY_TIMEOUT_SECONDS
              value: {{ include "academy.shortestVisibility" (dict "root" .root "queues" $fixed.queues) | quote }}
            {{- range $name, $value := $worker.env }}
            - name: {{ $name }}
              value: {{ $value | quote }}
            {{- end }}
            {{- include "academy.liveCodeEnv" .root | nindent 12 }}
          ports:
            - name: metrics
              containerPort: 9100
          # Busy or not, a pod whose loops turn is ready: not-ready pods are the first that a scale-in takes.
          startupProbe:
            httpGet: {path: /live, port: metrics}
            periodSeconds: 2
            failureThreshold: {{ $worker.startupTries }}
          readinessProbe:
            httpGet: {path: /live, port: metrics}
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 6
          livenessProbe:
            httpGet: {path: /live, port: metrics}
            periodSeconds: 20
            timeoutSeconds: 10
            failureThreshold: 6
          resources:
            {{- toYaml $worker.resources | nindent 12 }}
          volumeMounts:
            - name: tmp
              mountPath: /tmp
            - name: scratch
              mountPath: /var/academy/scratch
            {{- include "academy.liveCodeMount" .root | nindent 12 }}
            {{- with $worker.googleCredentialsSecret }}
            - name: google
              mountPath: /etc/academy/google
              readOnly: true
            {{- end }}
      volumes:
        - name: tmp
          emptyDir: {sizeLimit: 1Gi}
        - name: scratch
          emptyDir: {sizeLimit: {{ $worker.scratchSize }}}
        {{- include "academy.liveCodeVolume" .root | nindent 8 }}
        {{- with $worker.googleCredentialsSecret }}
        - name: google
          secret:
            secretName: {{ . }}
        {{- end }}
{{- end -}}

{{/* Seconds. Arguments: root, queues (their keys in .Values.queues). */}}
{{- define "academy.shortestVisibility" -}}
{{- $seconds := list -}}
{{- range .queues -}}
{{- $seconds = append $seconds (index $.root.Values.queues .).visibilityTimeout -}}
{{- end -}}
{{- $least := first $seconds -}}
{{- range $seconds -}}
{{- $least = min $least . -}}
{{- end -}}
{{- $least -}}
{{- end -}}

{{/* URL of a queue. Arguments: root, queue (its key in .Values.queues). */}}
{{- define "academy.queueUrl" -}}
{{- $aws := .root.Values.aws -}}
{{- $endpoint := $aws.sqsEndpoint | default (printf "https://sqs.%s.amazonaws.com" $aws.region) -}}
{{- printf "%s/%s/%s" (trimSuffix "/" $endpoint) $aws.accountId (index .root.Values.queues .queue).name -}}
{{- end -}}

{{/*
queueLength is what one pod does at once, one task (academy_core.worker.run_worker): only so is a pod kept for each
message in flight. A trigger that cannot be read leaves the replicas as they are: there is no fallback. Two plain triggers
would give the larger of two queues; a worker of two queues needs their sum. Arguments: root, component, key.
*/}}
{{- define "academy.workerScaledObject" -}}
{{- $root := .root -}}
{{- $worker := index .root.Values.workers .key -}}
{{- $queues := (index (include "academy.workerTable" . | fromYaml) .key).queues -}}
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  {{- include "academy.metadata" . | nindent 2 }}
spec:
  scaleTargetRef:
    name: {{ include "academy.name" . }}
  minReplicaCount: {{ $worker.minReplicas }}
  maxReplicaCount: {{ $worker.maxReplicas }}
  pollingInterval: {{ $worker.pollingSeconds }}
  cooldownPeriod: {{ $worker.cooldownSeconds }}
  advanced:
    horizontalPodAutoscalerConfig:
      behavior:
        scaleDown:
          # No pod is taken while a task that was there when the backlog ended can still run.
          stabilizationWindowSeconds: {{ $worker.taskLimitSeconds }}
    {{- if gt (len $queues) 1 }}
    scalingModifiers:
      formula: {{ join " + " $queues }}
      target: "1"
      activationTarget: "0"
      metricType: AverageValue
    {{- end }}
  triggers:
    {{- range $queue := $queues }}
    - type: aws-sqs-queue
      name: {{ $queue }}
      metricType: AverageValue
      useCachedMetrics: true
      authenticationRef:
        name: {{ include "academy.name" (dict "root" $root "component" "queues") }}
      metadata:
        queueURL: {{ include "academy.queueUrl" (dict "root" $root "queue" $queue) }}
        queueLength: "1"
        activationQueueLength: "0"
        scaleOnInFlight: "true"
        awsRegion: {{ $root.Values.aws.region }}
        {{- with $root.Values.aws.sqsEndpoint }}
        awsEndpoint: {{ . }}
        {{- end }}
    {{- end }}
{{- end -}}
