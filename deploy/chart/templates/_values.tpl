{{/*
Writes what a map says over another: (list TARGET SOURCE). Maps are merged, null empties a map and removes what is none, all
else replaces.
*/}}
{{- define "adit-node.overlay" -}}
{{- $target := index . 0 -}}
{{- range $key, $value := index . 1 -}}
  {{- if kindIs "invalid" $value -}}
    {{- if kindIs "map" (get $target $key) }}{{ $_ := set $target $key dict }}{{ else }}{{ $_ := unset $target $key }}{{ end -}}
  {{- else if and (kindIs "map" $value) (kindIs "map" (get $target $key)) -}}
    {{- include "adit-node.overlay" (list (get $target $key) $value) -}}
  {{- else -}}
    {{- $_ := set $target $key $value -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{/*
The values that hold, as YAML. From the weakest: our defaults, a whole file of the upstream chart's defaults, the profile, the
platform, `global`, and what whoever installs has said. Of the upstream chart's defaults, those that name its own image are not
taken: nobody asked for it.
*/}}
{{- define "adit-node.values" -}}
{{- $said := deepCopy .Values -}}
{{- $upstream := omit ($said._internal_defaults_do_not_set | default dict) "hub" "image" "tag" "variant" -}}
{{- $_ := unset $said "_internal_defaults_do_not_set" -}}
{{- $global := $said.global | default dict -}}
{{- $values := .Files.Get "files/defaults.yaml" | fromYaml -}}
{{- $named := .Files.Get "files/profiles.yaml" | fromYaml -}}
{{- include "adit-node.overlay" (list $values $upstream) -}}
{{- include "adit-node.overlay" (list $values ($values.global | default dict)) -}}
{{- range $kind := list "profile" "platform" -}}
  {{- with coalesce (get $said $kind) (get $global $kind) (get $upstream $kind) -}}
    {{- if not (hasKey (get $named $kind) .) -}}
      {{- fail (printf "%s: there is none called %q; known are %s" $kind . (keys (get $named $kind) | sortAlpha | join ", ")) -}}
    {{- end -}}
    {{- include "adit-node.overlay" (list $values (get (get $named $kind) .)) -}}
    {{- $_ := set $values $kind . -}}
  {{- end -}}
{{- end -}}
{{- include "adit-node.overlay" (list $values (omit $global "profile" "platform")) -}}
{{- include "adit-node.overlay" (list $values (omit $said "profile" "platform")) -}}
{{- toYaml $values -}}
{{- end -}}
