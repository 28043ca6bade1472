package history

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
	"golang.org/x/sync/errgroup"
)

// Verdict is the verdict on the registers of a history.
type Verdict struct {
	Keys, Operations int
	Open             int      // operations whose outcome stayed unknown
	Most             int      // operations on the busiest key
	Illegal          []string // keys whose operations are not linearizable
	Undecided        []string // keys that could not be decided within the bound
	Unread           []string // keys without a final read
}

// OK reports whether every key was read at the end and is proven linearizable.
func (v Verdict) OK() bool {
	return v.Keys > 0 && len(v.Illegal)+len(v.Undecided)+len(v.Unread) == 0
}

func (v Verdict) String() string {
	s := fmt.Sprintf("%d operations on %d registers (%d of them open, at most %d on one register)", v.Operations, v.Keys, v.Open, v.Most)
	for _, bad := range []struct {
		keys []string
		what string
	}{{v.Illegal, "not linearizable"}, {v.Undecided, "not decided"}, {v.Unread, "not read at the end"}} {
		if len(bad.keys) > 0 {
			s += fmt.Sprintf("; %s: %s", bad.what, strings.Join(bad.keys[:min(len(bad.keys), 5)], ", "))
		}
	}
	if v.OK() {
		return s + ": linearizable"
	}
	return s
}

// Check decides for each register whether its operations are linearizable, taking at most bound for each and checking several in
// parallel. For every register that is not linearizable or stays undecided, it writes a page for inspection to dir.
func Check(ops []Op, bound time.Duration, parallel int, dir string) (Verdict, error) {
	keys := byKey(ops)
	v := Verdict{Keys: len(keys)}
	var mu sync.Mutex
	var group errgroup.Group
	group.SetLimit(parallel)
	for key, of := range keys {
		v.Operations += len(of)
		v.Most = max(v.Most, len(of))
		if !slices.ContainsFunc(of, func(o Op) bool { return o.Via == Final }) {
			v.Unread = append(v.Unread, key)
		}
		for _, o := range of {
			if o.Open() {
				v.Open++
			}
		}
		group.Go(func() error {
			result, err := checkKey(key, of, bound, dir)
			mu.Lock()
			defer mu.Unlock()
			switch result {
			case porcupine.Illegal:
				v.Illegal = append(v.Illegal, key)
			case porcupine.Unknown:
				v.Undecided = append(v.Undecided, key)
			case porcupine.Ok:
			}
			return err
		})
	}
	err := group.Wait()
	for _, list := range [][]string{v.Illegal, v.Undecided, v.Unread} {
		slices.Sort(list)
	}
	return v, err
}

func checkKey(key string, of []Op, bound time.Duration, dir string) (porcupine.CheckResult, error) {
	history := operations(of)
	result := porcupine.CheckOperationsTimeout(model, history, bound)
	if result == porcupine.Ok {
		return result, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return result, fmt.Errorf("show register %s: %w", key, err)
	}
	_, info := porcupine.CheckOperationsVerbose(model, history, bound)
	path := filepath.Join(dir, strings.ReplaceAll(key, ":", "-")+".html")
	if err := porcupine.VisualizePath(model, info, path); err != nil {
		return result, fmt.Errorf("show register %s: %w", key, err)
	}
	return result, nil
}
