//go:build tools

// Package tools names the program that `.ci/e2e` builds from this module: the Kubernetes API server, at the version that
// go.mod pins. Kubernetes itself replaces its staging modules by folders of its repository; here they are the released ones.
package tools

import _ "k8s.io/kubernetes/cmd/kube-apiserver"
