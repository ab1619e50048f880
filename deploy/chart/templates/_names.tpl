{{/* Name of DaemonSet and service account: istiod and istioctl look for "ztunnel". Takes the values. */}}
{{- define "adit-node.name" -}}
{{- .resourceName | default "ztunnel" -}}
{{- end -}}

{{- define "adit-node.serviceAccount" -}}
{{- .adit.serviceAccount | default (include "adit-node.name" .) -}}
{{- end -}}

{{/* Whether objects of a scope are wanted: (list VALUES SCOPE). */}}
{{- define "adit-node.wanted" -}}
{{- if has (index . 0).resourceScope (list "all" (index . 1)) -}}yes{{- end -}}
{{- end -}}

{{/* A scalar as text; YAML reads whole numbers as floats, which would be written with exponents. */}}
{{- define "adit-node.text" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) -}}{{ int64 . }}{{- else -}}{{ . }}{{- end -}}
{{- end -}}

{{/* Labels that every object has, pods included: (list CONTEXT VALUES). */}}
{{- define "adit-node.commonLabels" -}}
{{- $context := index . 0 -}}
app: ztunnel
app.kubernetes.io/name: ztunnel
app.kubernetes.io/part-of: istio
app.kubernetes.io/component: adit-node
app.kubernetes.io/instance: {{ $context.Release.Name | quote }}
app.kubernetes.io/managed-by: {{ $context.Release.Service | quote }}
app.kubernetes.io/version: {{ $context.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" $context.Chart.Name $context.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{/* Labels and annotations of an object: (list CONTEXT VALUES [MORE-LABELS]). */}}
{{- define "adit-node.metadata" -}}
{{- $values := index . 1 -}}
{{- $labels := include "adit-node.commonLabels" . | fromYaml -}}
{{- $_ := set $labels "istio.io/rev" ($values.revision | default "default") -}}
{{- with $values.ownerName }}{{ $_ := set $labels "install.operator.istio.io/owning-resource" . }}{{ end -}}
{{- include "adit-node.overlay" (list $labels $values.labels) -}}
{{- if gt (len .) 2 }}{{ include "adit-node.overlay" (list $labels (index . 2)) }}{{ end -}}
{{- $annotations := deepCopy $values.annotations -}}
{{- with $values.revision }}{{ $_ := set $annotations "istio.io/rev" . }}{{ end -}}
labels:
  {{- toYaml $labels | nindent 2 }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The image: (list CONTEXT VALUES). */}}
{{- define "adit-node.image" -}}
{{- $values := index . 1 -}}
{{- $tag := include "adit-node.text" ($values.tag | default (index . 0).Chart.AppVersion) -}}
{{- if $values.adit.image -}}
{{ $values.adit.image }}
{{- else if contains "/" $values.image -}}
{{ $values.image }}
{{- else -}}
{{ with $values.hub }}{{ trimSuffix "/" . }}/{{ end }}{{ $values.image | default "adit-node" }}:{{ $tag }}{{ with $values.variant }}-{{ . }}{{ end }}
{{- end -}}
{{- end -}}

{{/* Where istiod is. Takes the values. */}}
{{- define "adit-node.istiod" -}}
istiod{{ with .revision }}-{{ . }}{{ end }}.{{ .istioNamespace }}.svc:15012
{{- end -}}
