package evidence

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestLogs(t *testing.T) {
	state, to := t.TempDir(), t.TempDir()
	pod := filepath.Join(state, "machines", "n1", "var-log", "pods", "ours_orders-1_0123456789abcdef", "node")
	other := filepath.Join(state, "machines", "n1", "var-log", "pods", "theirs_x_1", "c")
	path := filepath.Join(pod, "0.log")
	for _, dir := range []string{pod, other} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write := func(path, text string) {
		t.Helper()
		f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	copyOf := filepath.Join(to, "n1_ours_orders-1_01234567_node_0.log")
	holds := func(want string) {
		t.Helper()
		for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
			got, err := os.ReadFile(copyOf)
			if err == nil && string(got) == want {
				return
			}
			if time.Since(begun) > time.Minute {
				t.Fatalf("the copy holds %q, %v; want %q", got, err, want)
			}
		}
	}
	write(path, "one\n")
	write(filepath.Join(other, "0.log"), "not ours\n")
	l, err := CopyLogs(state, to, "ours")
	if err != nil {
		t.Fatal(err)
	}
	holds("one\n")
	write(path, "two\n")
	if err := os.Rename(path, path+".rotated"); err != nil {
		t.Fatal(err)
	}
	write(path, "three\n")
	holds("one\ntwo\nthree\n")
	write(path, "four\n")
	if err := os.RemoveAll(pod); err != nil {
		t.Fatal(err)
	}
	if err := l.Stop(); err != nil {
		t.Fatal(err)
	}
	holds("one\ntwo\nthree\nfour\n")
	entries, err := os.ReadDir(to)
	if err != nil || len(entries) != 1 {
		t.Fatalf("%v, %v", entries, err)
	}
}
