package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// histogram is a Prometheus histogram. Its bucket bounds are in ascending order.
type histogram struct {
	bounds []float64 // seconds
	counts []float64 // cumulative, up to each bound
	sum    float64
	count  float64
}

// read records one line of the metric.
func (h *histogram) read(name string, v float64) error {
	switch metric, _, _ := strings.Cut(name, "{"); {
	case strings.HasSuffix(metric, "_sum"):
		h.sum = v
	case strings.HasSuffix(metric, "_count"):
		h.count = v
	case strings.HasSuffix(metric, "_bucket"):
		_, le, _ := strings.Cut(name, `le="`)
		le, _, ok := strings.Cut(le, `"`)
		bound, err := strconv.ParseFloat(le, 64)
		if !ok || err != nil {
			return fmt.Errorf("the bound of %s: %w", name, err)
		}
		h.bounds, h.counts = append(h.bounds, bound), append(h.counts, v)
	}
	return nil
}

// since returns the difference to an earlier reading.
func (h histogram) since(before histogram) histogram {
	out := histogram{bounds: h.bounds, sum: h.sum - before.sum, count: h.count - before.count}
	for i, n := range h.counts {
		if len(before.counts) == len(h.counts) {
			n -= before.counts[i]
		}
		out.counts = append(out.counts, n)
	}
	return out
}

// at returns an upper bound of the quantile q: the bound of the bucket that it falls into, or 0 if the histogram is empty.
func (h histogram) at(q float64) time.Duration {
	for i, n := range h.counts {
		if h.count > 0 && n >= q*h.count {
			return time.Duration(h.bounds[i] * float64(time.Second))
		}
	}
	return 0
}

func (h histogram) mean() time.Duration {
	if h.count == 0 {
		return 0
	}
	return time.Duration(h.sum / h.count * float64(time.Second))
}
