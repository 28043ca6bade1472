package wal

import (
	"errors"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
)

func unpaced(int) error { return nil }

// scrubAll scrubs every closed segment, and returns where each ended and the first error.
func scrubAll(l *Log) (ends []replication.Position, first error) {
	for after := replication.Position(0); ; {
		end, found, err := l.Scrub(after, unpaced)
		if !found {
			return ends, errors.Join(first, err)
		}
		if err != nil && first == nil {
			first = err
		}
		ends, after = append(ends, end), end
	}
}

func TestScrubFindsEveryFlippedBitOfClosedSegments(t *testing.T) {
	rng := seeded(t)
	master := vfs.NewMem()
	l, _ := mustOpen(t, master, "wal", Options{Create: true})
	for len(l.Segments()) < 5 {
		appendSome(t, l, 1, 1+rng.IntN(20), 400)
		mustSync(t, l)
	}
	segments := l.Segments()
	ends, err := scrubAll(l)
	if err != nil || len(ends) != len(segments)-1 || ends[len(ends)-1] != segments[len(segments)-2].Last {
		t.Fatalf("whole log: %v, %v", ends, err)
	}
	closed := l.segments[:len(l.segments)-1]
	for range 300 {
		i := rng.IntN(len(closed))
		s := closed[i]
		at := s.header.length + rng.Int64N(s.off-s.header.length)
		if rng.IntN(10) == 0 {
			at = rng.Int64N(headerFixed)
		}
		bit := at*8 + rng.Int64N(8)
		flipBit(t, master, s.path, bit)
		_, found, err := l.Scrub(s.base(), unpaced)
		if !found || !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), s.path) {
			t.Fatalf("flipped bit %d of segment %d: found %t, %v", bit, i, found, err)
		}
		if _, first := scrubAll(l); first == nil || first.Error() != err.Error() {
			t.Fatalf("from the start: %v, want %v", first, err)
		}
		flipBit(t, master, s.path, bit)
	}
	if _, err := scrubAll(l); err != nil {
		t.Fatal(err)
	}
}

// A log that was reopened knows only where its older segments begin and end.
func TestScrubAfterARestart(t *testing.T) {
	fs := vfs.NewMem()
	l, _ := mustOpen(t, fs, "wal", Options{Create: true})
	for len(l.Segments()) < 4 {
		appendSome(t, l, 1, 10, 400)
		mustSync(t, l)
	}
	closeLog(t, l)
	if _, _, err := l.Scrub(0, unpaced); !errors.Is(err, ErrClosed) {
		t.Fatalf("closed: %v", err)
	}
	l, _ = mustOpen(t, fs, "wal", Options{})
	defer closeLog(t, l)
	if ends, err := scrubAll(l); len(ends) != 3 || err != nil {
		t.Fatalf("%v, %v", ends, err)
	}
}

// A segment that was pruned while it was being read is not damage, whatever is found there; nor is being told to stop.
func TestScrubOfWhatIsPrunedMeanwhile(t *testing.T) {
	fs := vfs.NewMem()
	l, _ := mustOpen(t, fs, "wal", Options{Create: true})
	defer closeLog(t, l)
	for len(l.Segments()) < 3 {
		appendSome(t, l, 1, 10, 400)
		mustSync(t, l)
	}
	enough := errors.New("enough")
	if _, found, err := l.Scrub(0, func(int) error { return enough }); !found || err != enough {
		t.Fatalf("told to stop: %t, %v", found, err)
	}
	s := l.segments[0]
	flipBit(t, fs, s.path, (s.off-1)*8)
	if _, found, err := l.Scrub(0, func(int) error { return l.Prune(s.end.Position) }); !found || err != nil {
		t.Fatalf("pruned meanwhile: %t, %v", found, err)
	}
	if _, found, err := l.Scrub(s.end.Position, unpaced); !found || err != nil {
		t.Fatalf("the next one: %t, %v", found, err)
	}
}
