{{/*
What a schema cannot say: values that need each other, and the arithmetic of database connections. All faults come in
one message.
*/}}
{{- define "academy.checks" -}}
{{- $faults := list -}}
{{- $v := .Values -}}
{{- range $key, $value := dict "site.url" $v.site.url "r2.endpoint" $v.r2.endpoint "playback.baseUrl" $v.playback.baseUrl "database.host" $v.database.host "aws.accountId" $v.aws.accountId -}}
{{- if not $value -}}
{{- $faults = append $faults (printf "%s: needed" $key) -}}
{{- end -}}
{{- end -}}
{{- if $v.networkPolicy.enabled -}}
{{- range $key := list "clusterCidrs" "vpcCidrs" "databaseCidrs" "apiServerCidrs" -}}
{{- if not (index $v.networkPolicy $key) -}}
{{- $faults = append $faults (printf "networkPolicy.%s: needed while networkPolicy.enabled" $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and $v.networkPolicy.enabled (or $v.ingress.enabled $v.gateway.enabled) (not $v.networkPolicy.loadBalancerCidrs) -}}
{{- $faults = append $faults "networkPolicy.loadBalancerCidrs: needed while ingress.enabled or gateway.enabled: the load balancer's own subnets, since pods have addresses of the VPC too" -}}
{{- end -}}
{{- if and $v.secrets.externalSecrets.enabled (not $v.secrets.externalSecrets.storeName) -}}
{{- $faults = append $faults "secrets.externalSecrets.storeName: needed while it is enabled" -}}
{{- end -}}
{{- if and $v.gateway.enabled (not $v.gateway.name) -}}
{{- $faults = append $faults "gateway.name: needed while it is enabled" -}}
{{- end -}}
{{- if and $v.ingress.enabled $v.gateway.enabled -}}
{{- $faults = append $faults "ingress.enabled, gateway.enabled: one of them" -}}
{{- end -}}
{{- if and (not $v.apiInternal.enabled) (or $v.ingress.enabled $v.gateway.enabled) -}}
{{- range $v.ingress.paths -}}
{{- $path := printf "%s/" (trimSuffix "/" .) -}}
{{- if or (hasPrefix $path "/internal/") (hasPrefix "/internal/" $path) -}}
{{- $faults = append $faults (printf "ingress.paths: %s would route the worker endpoints from outside (apiInternal.enabled is false)" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (eq $v.migrate.backup "snapshot") (not $v.migrate.rdsInstance) -}}
{{- $faults = append $faults "migrate.rdsInstance: needed with migrate.backup snapshot" -}}
{{- end -}}
{{- if $v.api.autoscaling.enabled -}}
{{- if lt (int $v.api.autoscaling.maxReplicas) (int $v.api.autoscaling.minReplicas) -}}
{{- $faults = append $faults "api.autoscaling.maxReplicas: below minReplicas" -}}
{{- end -}}
{{- end -}}
{{- with include "academy.clientSum" . -}}{{- $faults = append $faults . -}}{{- end -}}
{{- with include "academy.serverSum" . -}}{{- $faults = append $faults . -}}{{- end -}}
{{- if $faults -}}
{{- fail (printf "\n%s\n" (join "\n" (sortAlpha $faults))) -}}
{{- end -}}
{{- end -}}

{{/* Connections of all API processes at the top of a rollout: (API max + surge) × workers × DB_MAX_CONCURRENCY. */}}
{{- define "academy.apiConnections" -}}
{{- $api := ternary .Values.api.autoscaling.maxReplicas .Values.api.replicas .Values.api.autoscaling.enabled | int -}}
{{- $internal := ternary (add (int .Values.apiInternal.replicas) 1) 0 .Values.apiInternal.enabled | int -}}
{{- $pods := add $api 1 $internal -}}
{{- mul $pods (int .Values.api.gunicorn.workers) (int .Values.database.maxConcurrency) -}}
{{- end -}}

{{- define "academy.apiConnectionsSpelledOut" -}}
{{- $api := ternary .Values.api.autoscaling.maxReplicas .Values.api.replicas .Values.api.autoscaling.enabled | int -}}
{{- $internal := ternary (printf " + %d api-internal + 1 surge" (int .Values.apiInternal.replicas)) "" .Values.apiInternal.enabled -}}
{{- printf "(%d api + 1 surge%s) × %d workers × %d database.maxConcurrency = %s" $api $internal (int .Values.api.gunicorn.workers) (int .Values.database.maxConcurrency) (include "academy.apiConnections" .) -}}
{{- end -}}

{{/* Whether the poolers that are left when one is drained take every client. Empty when they do. */}}
{{- define "academy.clientSum" -}}
{{- if .Values.pgbouncer.enabled -}}
{{- $left := max 1 (sub (int .Values.pgbouncer.replicas) 1) -}}
{{- $room := mul $left (int .Values.pgbouncer.maxClientConnections) -}}
{{- if gt (include "academy.apiConnections" . | int) (int $room) -}}
{{- printf "pgbouncer.maxClientConnections: %s clients, more than %d PgBouncer left in a rollout × %d = %d" (include "academy.apiConnectionsSpelledOut" .) (int $left) (int .Values.pgbouncer.maxClientConnections) (int $room) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
Whether Postgres has the connections for all of it. Empty when it has. A pod that ends keeps its connections, idle ones
too, longer than its successor takes to be ready, and no Deployment waits for it: in a rollout all old pods may still
have theirs beside all new ones.
*/}}
{{- define "academy.serverSum" -}}
{{- $relays := int .Values.relay.replicas -}}
{{- $direct := add $relays $relays 1 1 (int .Values.database.exporterConnections) -}}
{{- $directText := printf "%d relay + %d ending + 1 migrate + 1 backup + %d exporter" $relays $relays (int .Values.database.exporterConnections) -}}
{{- $room := sub (int .Values.database.maxConnections) (int .Values.database.reservedConnections) -}}
{{- $roomText := printf "%d database.maxConnections - %d reserved = %d" (int .Values.database.maxConnections) (int .Values.database.reservedConnections) (int $room) -}}
{{- if .Values.pgbouncer.enabled -}}
{{- $poolers := int .Values.pgbouncer.replicas -}}
{{- $each := add (int .Values.pgbouncer.poolSize) (int .Values.pgbouncer.reservePoolSize) -}}
{{- $sum := add (mul 2 $poolers $each) $direct -}}
{{- if gt (int $sum) (int $room) -}}
{{- printf "database.maxConnections: (%d pgbouncer + %d draining) × (%d poolSize + %d reservePoolSize) + %s = %d, more than %s" $poolers $poolers (int .Values.pgbouncer.poolSize) (int .Values.pgbouncer.reservePoolSize) $directText (int $sum) $roomText -}}
{{- end -}}
{{- else -}}
{{- $api := ternary .Values.api.autoscaling.maxReplicas .Values.api.replicas .Values.api.autoscaling.enabled | int -}}
{{- $internal := ternary .Values.apiInternal.replicas 0 .Values.apiInternal.enabled | int -}}
{{- $pods := add $api $internal -}}
{{- $each := mul (int .Values.api.gunicorn.workers) (int .Values.database.maxConcurrency) -}}
{{- $sum := add (mul 2 $pods $each) $direct -}}
{{- if gt (int $sum) (int $room) -}}
{{- printf "database.maxConnections: (%d api + %d ending) × %d workers × %d database.maxConcurrency + %s = %d, more than %s" (int $pods) (int $pods) (int .Values.api.gunicorn.workers) (int .Values.database.maxConcurrency) $directText (int $sum) $roomText -}}
{{- end -}}
{{- end -}}
{{- end -}}
