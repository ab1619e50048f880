{{/* Name of everything. */}}
{{- define "adit-waypoint.name" -}}
{{- .Values.name | default .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "adit-waypoint.serviceAccount" -}}
{{- .Values.serviceAccount | default (include "adit-waypoint.name" .) -}}
{{- end -}}

{{- define "adit-waypoint.manifests" -}}
{{- .Values.manifestsFrom | default (printf "%s-manifests" (include "adit-waypoint.name" .)) -}}
{{- end -}}

{{- define "adit-waypoint.image" -}}
{{- .Values.image | default (printf "adit-waypoint:%s" .Chart.AppVersion) -}}
{{- end -}}

{{/* A scalar as text; YAML reads whole numbers as floats, which would be written with exponents. */}}
{{- define "adit-waypoint.text" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) -}}{{ int64 . }}{{- else -}}{{ . }}{{- end -}}
{{- end -}}

{{/* What picks the pods: istiod finds a Gateway's pods by it, too. */}}
{{- define "adit-waypoint.selector" -}}
gateway.networking.k8s.io/gateway-name: {{ include "adit-waypoint.name" . }}
{{- end -}}

{{/* Labels that every object has, pods included. */}}
{{- define "adit-waypoint.commonLabels" -}}
{{ include "adit-waypoint.selector" . }}
app.kubernetes.io/name: adit-waypoint
app.kubernetes.io/part-of: istio
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{/* Labels and annotations of an object: (list CONTEXT [MORE-LABELS [MORE-ANNOTATIONS]]). */}}
{{- define "adit-waypoint.metadata" -}}
{{- $context := index . 0 -}}
{{- $labels := merge (dict) (deepCopy $context.Values.labels) (include "adit-waypoint.commonLabels" $context | fromYaml) -}}
{{- $annotations := deepCopy $context.Values.annotations -}}
{{- if gt (len .) 1 }}{{ $labels = merge (dict) (index . 1) $labels }}{{ end -}}
{{- if gt (len .) 2 }}{{ $annotations = merge (dict) (index . 2) $annotations }}{{ end -}}
labels:
  {{- toYaml $labels | nindent 2 }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
