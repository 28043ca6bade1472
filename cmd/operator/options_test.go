package main

import (
	"strings"
	"testing"
)

// TestResyncIsBounded checks that --resync cannot be so long that idle stores fire the alert "a store is not seen" of docs/metrics.md.
func TestResyncIsBounded(t *testing.T) {
	for value, allowed := range map[string]bool{"10s": true, "1m": true, "61s": false, "3m": false, "0s": false} {
		_, err := parse("operator", []string{"--node-image=x", "--resync=" + value})
		if allowed && err != nil || !allowed && (err == nil || !strings.Contains(err.Error(), "--resync")) {
			t.Errorf("--resync=%s: %v", value, err)
		}
	}
}
