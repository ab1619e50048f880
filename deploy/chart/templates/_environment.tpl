{{/*
Variables of the container: (list CONTEXT VALUES). What whoever installs sets replaces what we would, so that no name is there
twice.
*/}}
{{- define "adit-node.environment" -}}
{{- $values := index . 1 -}}
{{- $istiod := include "adit-node.istiod" $values -}}
{{- $said := dict -}}
{{- include "adit-node.overlay" (list $said ((($values.meshConfig).defaultConfig).proxyMetadata | default dict)) -}}
{{- include "adit-node.overlay" (list $said ($values.env | default dict)) -}}
{{- if $values.peerCaCrl.enabled }}{{ $_ := set $said "CRL_PATH" "/var/run/secrets/istio/crl/ca-crl.pem" }}{{ end -}}
{{- $ours := dict
  "CA_ADDRESS" ($values.caAddress | default $istiod)
  "XDS_ADDRESS" ($values.xdsAddress | default $istiod)
  "RUST_LOG" $values.logLevel
  "RUST_BACKTRACE" "1"
  "ISTIO_META_CLUSTER_ID" ($values.multiCluster.clusterName | default "Kubernetes")
  "INPOD_ENABLED" "true"
  "ADIT_HANDOVER_PATH" "/var/run/adit/handover.sock"
  "TERMINATION_GRACE_PERIOD_SECONDS" $values.terminationGracePeriodSeconds
-}}
{{- if $values.logAsJson }}{{ $_ := set $ours "LOG_FORMAT" "json" }}{{ end -}}
{{- with $values.network }}{{ $_ := set $ours "NETWORK" . }}{{ end -}}
{{- include "adit-node.overlay" (list $ours $said) -}}
{{- range $name, $value := $ours }}
- name: {{ $name }}
  value: {{ include "adit-node.text" $value | quote }}
{{- end }}
{{- $fields := dict
  "POD_NAME" "metadata.name"
  "POD_NAMESPACE" "metadata.namespace"
  "NODE_NAME" "spec.nodeName"
  "INSTANCE_IP" "status.podIP"
  "SERVICE_ACCOUNT" "spec.serviceAccountName"
}}
{{- range $name, $field := $fields }}
{{- if not (hasKey $said $name) }}
- name: {{ $name }}
  valueFrom:
    fieldRef:
      fieldPath: {{ $field }}
{{- end }}
{{- end }}
{{- $amounts := dict "ZTUNNEL_CPU_LIMIT" "limits.cpu" }}
{{- if ($values.resources.limits).cpu }}{{ $_ := set $amounts "ZTUNNEL_RESOURCE_CPU_LIMIT" "limits.cpu" }}{{ end }}
{{- if ($values.resources.requests).cpu }}{{ $_ := set $amounts "ZTUNNEL_RESOURCE_CPU_REQUEST" "requests.cpu" }}{{ end }}
{{- range $name, $amount := $amounts }}
{{- if not (hasKey $said $name) }}
- name: {{ $name }}
  valueFrom:
    resourceFieldRef:
      resource: {{ $amount }}
      divisor: "1"
{{- end }}
{{- end }}
{{- end -}}
