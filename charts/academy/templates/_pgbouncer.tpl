{{- define "academy.pgbouncerIni" -}}
{{- $pooler := .Values.pgbouncer -}}
[databases]
{{ .Values.database.name }} = host={{ .Values.database.host }} port={{ .Values.database.port }} dbname={{ .Values.database.name }}

[pgbouncer]
listen_addr = 0.0.0.0
listen_port = 6432
unix_socket_dir =
auth_type = scram-sha-256
auth_file = /etc/pgbouncer/users/userlist.txt
{{- if $pooler.exporter.enabled }}
stats_users = pgbouncer_exporter
{{- end }}
pool_mode = transaction
max_client_conn = {{ $pooler.maxClientConnections }}
default_pool_size = {{ $pooler.poolSize }}
reserve_pool_size = {{ $pooler.reservePoolSize }}
reserve_pool_timeout = 3
# A pool is a role's: while two take turns (docs/runbooks/rotate-credentials.md) they share what one may have.
max_db_connections = {{ add (int $pooler.poolSize) (int $pooler.reservePoolSize) }}
# Below gunicorn's timeout of 30 s: who waits longer gets an error instead of being killed with the worker.
query_wait_timeout = {{ $pooler.queryWaitSeconds }}
# A database that is back is found within a second, not after 15.
server_login_retry = 1
server_connect_timeout = 5
server_lifetime = 1800
server_idle_timeout = 60
server_tls_sslmode = {{ .Values.database.tls.mode }}
server_tls_ca_file = /etc/academy/database-ca/ca.pem
tcp_keepidle = 10
tcp_keepintvl = 5
tcp_keepcnt = 3
log_connections = 0
log_disconnections = 0
{{- end -}}
