{{/* Variables of the container. What whoever installs sets replaces what we would, so that no name is there twice. */}}
{{- define "adit-waypoint.environment" -}}
{{- $values := .Values -}}
{{- $istiod := printf "istiod%s.%s.svc:15012" (ternary (printf "-%s" $values.revision) "" (ne $values.revision "")) $values.istioNamespace -}}
{{- $fields := list
  (list "POD_NAME" "metadata.name")
  (list "POD_NAMESPACE" "metadata.namespace")
  (list "NODE_NAME" "spec.nodeName")
  (list "INSTANCE_IP" "status.podIP")
  (list "POD_SERVICE_ACCOUNT" "spec.serviceAccountName")
-}}
{{- /* First: later ones may name them. */}}
{{- range $fields }}
{{- if not (hasKey $values.env (index . 0)) }}
- name: {{ index . 0 }}
  valueFrom:
    fieldRef:
      fieldPath: {{ index . 1 }}
{{- end }}
{{- end }}
{{- $ours := dict
  "PROXY_MODE" "dedicated"
  "PROXY_WORKLOAD_INFO" "$(POD_NAMESPACE)/$(POD_NAME)/$(POD_SERVICE_ACCOUNT)"
  "CA_ADDRESS" ($values.caAddress | default $istiod)
  "XDS_ADDRESS" ($values.xdsAddress | default $istiod)
  "ISTIO_META_CLUSTER_ID" $values.clusterName
  "RUST_LOG" $values.logLevel
  "RUST_BACKTRACE" "1"
  "ROOT_NAMESPACE" $values.istioNamespace
  "CLUSTER_DOMAIN" $values.clusterDomain
  "TERMINATION_GRACE_PERIOD_SECONDS" (sub $values.terminationGracePeriodSeconds $values.preStopSleepSeconds)
-}}
{{- if $values.logAsJson }}{{ $_ := set $ours "LOG_FORMAT" "json" }}{{ end -}}
{{- with $values.network }}{{ $_ := set $ours "NETWORK" . }}{{ end -}}
{{- range $name, $value := merge (dict) $values.env $ours }}
- name: {{ $name }}
  value: {{ include "adit-waypoint.text" $value | quote }}
{{- end }}
{{- $amounts := dict "ZTUNNEL_CPU_LIMIT" "limits.cpu" }}
{{- if ($values.resources.limits).cpu }}{{ $_ := set $amounts "ZTUNNEL_RESOURCE_CPU_LIMIT" "limits.cpu" }}{{ end }}
{{- if ($values.resources.requests).cpu }}{{ $_ := set $amounts "ZTUNNEL_RESOURCE_CPU_REQUEST" "requests.cpu" }}{{ end }}
{{- range $name, $amount := $amounts }}
{{- if not (hasKey $values.env $name) }}
- name: {{ $name }}
  valueFrom:
    resourceFieldRef:
      resource: {{ $amount }}
      divisor: "1"
{{- end }}
{{- end }}
{{- end -}}
