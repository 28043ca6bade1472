package main

import (
	"context"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// The time is fake: it passes only while nothing is being written.
func TestDiskAlone(t *testing.T) { synctest.Test(t, testDiskAlone) }

func testDiskAlone(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := writeSteadily(ctx, dir, 20<<20); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}

	f, err := os.Create(dir + "/paced")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ctx, cancel = context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	var done float64
	begun := time.Now()
	if err := fillSteadily(ctx, f, begun, &done, 20<<20); err != nil {
		t.Fatal(err)
	}
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	// A chunk is written only once everything before it was due.
	if most := time.Since(begun).Seconds()*(20<<20) + bulkChunk; done != float64(st.Size()) || done == 0 || done > most {
		t.Errorf("wrote %.0f bytes and says %.0f, at most %.0f were due", float64(st.Size()), done, most)
	}
}
