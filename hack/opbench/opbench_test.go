package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestAHistogramTellsOfWhatCameSince(t *testing.T) {
	read := func(lines map[string]float64) (h histogram) {
		for _, name := range slices.Sorted(maps.Keys(lines)) {
			if err := h.read(name, lines[name]); err != nil {
				t.Fatal(err)
			}
		}
		return h
	}
	const m = "reconcile_time_seconds"
	before := read(map[string]float64{m + `_bucket{le="0.01"}`: 5, m + `_bucket{le="0.5"}`: 10, m + "_sum": 3, m + "_count": 10})
	after := read(map[string]float64{m + `_bucket{le="0.01"}`: 95, m + `_bucket{le="0.5"}`: 110, m + "_sum": 5, m + "_count": 110})
	h := after.since(before)
	if h.count != 100 || h.mean() != 20*time.Millisecond || h.at(0.5) != 10*time.Millisecond || h.at(0.99) != 500*time.Millisecond {
		t.Errorf("%+v: mean %v, p50 %v, p99 %v", h, h.mean(), h.at(0.5), h.at(0.99))
	}
	if first := after.since(histogram{}); first.count != 110 || first.counts[0] != 95 {
		t.Errorf("since the beginning: %+v", first)
	}
	if none := (histogram{}); none.at(0.5) != 0 || none.mean() != 0 {
		t.Errorf("of nothing: %v, %v", none.at(0.5), none.mean())
	}
}

func TestTheAuditLogIsReadOnce(t *testing.T) {
	a := &audit{path: filepath.Join(t.TempDir(), "audit.log")}
	write := func(text string) {
		f, err := os.OpenFile(a.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	want := func(want map[string]int) {
		t.Helper()
		if got, err := a.take(); err != nil || !maps.Equal(got, want) {
			t.Errorf("%v, %v; want %v", got, err, want)
		}
	}
	write(`{"stage":"ResponseComplete","verb":"get","objectRef":{"resource":"leases","namespace":"bench"}}
{"stage":"ResponseComplete","verb":"update","objectRef":{"resource":"leases","namespace":"operator"}}
{"stage":"ResponseStarted","verb":"watch","objectRef":{"resource":"pods"}}
{"stage":"ResponseComplete","verb":"watch","objectRef":{"resource":"pods"}}
{"stage":"ResponseComplete","verb":"patch","objectRef":{"resource":"replicatedstores","subresource":"status"}}
{"stage":"ResponseComplete","verb":"get","requestURI":"/apis?timeout=1s"}
{"stage":"ResponseComplete","ver`)
	want(map[string]int{"get leases": 1, "update " + election: 1, "watch pods": 1, "patch replicatedstores/status": 1, "get /apis": 1})
	want(map[string]int{})
	write(`b":"get","objectRef":{"resource":"leases","namespace":"bench"}}` + "\n")
	want(map[string]int{"get leases": 1})
}
