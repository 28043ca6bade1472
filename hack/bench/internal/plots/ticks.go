package plots

import (
	"fmt"
	"math"

	"gonum.org/v1/plot"
)

// thousands are the library's ticks with short labels.
type thousands struct{}

func (thousands) Ticks(from, to float64) []plot.Tick {
	ticks := plot.DefaultTicks{}.Ticks(from, to)
	for i := range ticks {
		if ticks[i].Label != "" {
			ticks[i].Label = short(ticks[i].Value)
		}
	}
	return ticks
}

// factors are the ticks of a logarithmic axis: every digit of every power of ten, some of them labelled.
type factors struct{}

func (factors) Ticks(from, to float64) (ticks []plot.Tick) {
	written := map[int]bool{1: true, 2: true, 5: true}
	if to > 1000*from {
		written = map[int]bool{1: true}
	}
	for power := math.Pow10(int(math.Floor(math.Log10(from)))); power <= to; power *= 10 {
		for digit := 1; digit < 10; digit++ {
			t := plot.Tick{Value: float64(digit) * power}
			if written[digit] {
				t.Label = short(t.Value)
			}
			if t.Value >= from && t.Value <= to {
				ticks = append(ticks, t)
			}
		}
	}
	return ticks
}

func short(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.3gM", v/1e6)
	case v >= 1e3:
		return fmt.Sprintf("%.3gk", v/1e3)
	default:
		return fmt.Sprintf("%.3g", v)
	}
}
