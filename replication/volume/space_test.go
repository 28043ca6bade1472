package volume

import "testing"

func TestLevels(t *testing.T) {
	const gib = 1 << 30
	for _, c := range []struct {
		total, free int64
		before      Level
		want        Level
	}{
		{0, 0, Ample, Ample},
		{0, 0, Full, Ample},
		{gib, gib / 2, Ample, Ample},
		{gib, gib / 7, Ample, NearlyFull},
		{gib, gib / 6, Ample, Ample},
		{gib, gib / 6, NearlyFull, NearlyFull}, // not left at once
		{gib, gib / 5, NearlyFull, Ample},
		{gib, gib / 11, NearlyFull, Full},
		{gib, gib / 11, Ample, Full},
		{gib, gib / 9, Ample, NearlyFull},
		{gib, gib / 9, Full, Full},
		{gib, gib / 7, Full, NearlyFull},
		{gib, gib / 2, Full, Ample},
		{gib, 0, Ample, Full},
		{1000 * gib, 5 * gib, Ample, Ample}, // absolute bounds on large volumes
		{1000 * gib, 3 * gib, Ample, NearlyFull},
		{1000 * gib, gib - 1, Ample, Full},
	} {
		if got := (Space{Total: c.total, Free: c.free}).next(c.before); got != c.want {
			t.Errorf("%d free of %d, before %v: %v, want %v", c.free, c.total, c.before, got, c.want)
		}
	}
}
