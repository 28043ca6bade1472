package main

import (
	"testing"
	"time"
)

func TestBusyOf(t *testing.T) {
	got, err := busyOf([]byte("cpu  100 20 300 9000 800 4 50 6 0 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n"))
	if want := 4800 * time.Millisecond; err != nil || got != want {
		t.Errorf("%v (%v), want %v", got, err, want)
	}
	for _, bad := range []string{"", "intr 1 2 3 4 5 6 7 8 9", "cpu 1 2 3", "cpu a 2 3 4 5 6 7 8"} {
		if got, err := busyOf([]byte(bad)); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
	if _, err := processorsBusy(); err != nil {
		t.Error(err)
	}
}
