{{/* The name of everything that the release makes. */}}
{{- define "tidewell.name" -}}
{{- if contains "tidewell" .Release.Name }}{{ .Release.Name | trunc 52 | trimSuffix "-" }}{{ else }}{{ printf "%s-tidewell" .Release.Name | trunc 52 | trimSuffix "-" }}{{ end -}}
{{- end }}

{{/* What tells the gateways of this release from everything else; never changes. */}}
{{- define "tidewell.selector" -}}
app.kubernetes.io/name: tidewell
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tidewell.labels" -}}
{{ include "tidewell.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* How probes and Prometheus reach the HTTP port. */}}
{{- define "tidewell.scheme" -}}
{{- if .Values.tls.secret }}HTTPS{{ else }}HTTP{{ end -}}
{{- end }}
