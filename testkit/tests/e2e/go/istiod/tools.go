//go:build tools

// Package tools names the program that `.ci/e2e` builds from this module: istiod, at the revision that go.mod pins.
package tools

import _ "istio.io/istio/pilot/cmd/pilot-discovery"
