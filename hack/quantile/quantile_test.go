package quantile

import (
	"slices"
	"testing"
	"time"
)

func TestAt(t *testing.T) {
	a, b := []time.Duration{5, 1, 4}, []time.Duration{2, 3}
	for q, want := range map[float64]time.Duration{0: 1, 0.19: 1, 0.2: 2, 0.5: 3, 0.99: 5, 1: 5} {
		if got := Of(a, b).At(q); got != want {
			t.Errorf("at %v: %d, want %d", q, got, want)
		}
	}
	if even := Of([]time.Duration{1, 2, 3, 4}); even.At(0.5) != 3 {
		t.Errorf("the median of an even number: %d, want the upper one of the two in the middle", even.At(0.5))
	}
	if Of().At(0.5) != 0 || Of(nil, nil).At(1) != 0 {
		t.Error("nothing has quantiles")
	}
	if !slices.Equal(a, []time.Duration{5, 1, 4}) {
		t.Errorf("what was given is now %v", a)
	}
}
