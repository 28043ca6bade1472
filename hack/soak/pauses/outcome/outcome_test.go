package outcome

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestSaveAndLoad(t *testing.T) {
	r := &Report{Faults: []Fault{
		{Name: "process killed", Times: []Outcome{{Pause: 1082 * time.Millisecond, Failed: 818, Unknown: 8, Leaders: 1, Report: "LeaderRefused"}, {Pause: time.Second}}},
		{Name: "cut off"},
	}}
	path := filepath.Join(t.TempDir(), "pauses.json")
	if err := r.Save(path); err != nil {
		t.Fatal(err)
	}
	got, err := Load(path)
	if err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("got %+v, %v, want %+v", got, err, r)
	}
	if err := os.WriteFile(path, []byte("| fault |"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a table was taken for a report, or is not named: %v", err)
	}
}
