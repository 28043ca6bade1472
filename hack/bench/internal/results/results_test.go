package results

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func contest(of, to []float64) *Contest {
	return &Contest{Name: "SET", Unit: "/s", Sides: []Side{{"a", of}, {"b", to}}}
}

func TestRatio(t *testing.T) {
	tests := map[string]struct {
		of, to []float64
		goal   Goal
		want   Spread
		met    bool
	}{
		"rounds are compared with themselves": {[]float64{10, 30, 50}, []float64{10, 10, 100}, Goal{Of: "a", To: "b", Bound: 1}, Spread{1, 0.5, 3}, true},
		"median of an even number":            {[]float64{1, 3}, []float64{1, 1}, Goal{Of: "a", To: "b", Bound: 2.1}, Spread{2, 1, 3}, false},
		"at most":                             {[]float64{3}, []float64{2}, Goal{Of: "a", To: "b", Bound: 1.6, AtMost: true}, Spread{1.5, 1.5, 1.5}, true},
		"more than at most":                   {[]float64{4}, []float64{2}, Goal{Of: "a", To: "b", Bound: 1.6, AtMost: true}, Spread{2, 2, 2}, false},
		"nothing measured":                    {nil, nil, Goal{Of: "a", To: "b", Bound: 0, AtMost: true}, Spread{}, false},
		"nothing to compare with":             {[]float64{1}, []float64{0}, Goal{Of: "a", To: "b", Bound: 1}, Spread{}, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got, met := contest(tc.of, tc.to).Ratio(tc.goal); got != tc.want || met != tc.met {
				t.Errorf("got %v, %t, want %v, %t", got, met, tc.want, tc.met)
			}
		})
	}
}

func TestDocument(t *testing.T) {
	c := contest([]float64{2, 4}, []float64{2, 2})
	c.Goals = []Goal{{Of: "a", To: "b", Bound: 2}}
	r := &Report{Machine: "m", Rounds: 2, Contests: []Contest{*c}}
	path := filepath.Join(t.TempDir(), "doc.md")
	write := func(s string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(s), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("before\n" + marker("measured", "begin") + "old\n" + marker("measured", "end") + "after\n")
	for range 2 { // a second time changes nothing
		if err := r.Document(path); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"before\n", "| SET | a / b | 1.50 (1.00 to 2.00) | >= 2.0 | **missed** |", "\nafter\n"} {
		if !strings.Contains(string(got), want) {
			t.Errorf("%q is not in:\n%s", want, got)
		}
	}
	if strings.Contains(string(got), "old") {
		t.Errorf("what was there before stayed:\n%s", got)
	}
	write("no markers")
	if r.Document(path) == nil {
		t.Error("a document without markers was written")
	}
}

func TestSaveAndLoad(t *testing.T) {
	r := &Report{Machine: "m", Rounds: 3, Contests: []Contest{*contest([]float64{1}, []float64{2})}, Facts: []Fact{{Name: "f", Goal: "g", Met: true}}}
	path := filepath.Join(t.TempDir(), "r.json")
	if err := r.Save(path); err != nil {
		t.Fatal(err)
	}
	got, err := Load(path)
	if err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("got %+v, %v, want %+v", got, err, r)
	}
}
