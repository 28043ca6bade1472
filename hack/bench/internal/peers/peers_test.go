package peers

import (
	"context"
	"path/filepath"
	"testing"
	"time"
)

// A program that cannot be started is an error, and what was started before it is stopped.
func TestProgramThatIsNotThere(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	dir := t.TempDir()
	if e, err := StartEtcd(ctx, filepath.Join(dir, "no-etcd"), dir, 3); err == nil || e != nil {
		t.Errorf("etcd: %v, %v", e, err)
	}
	t.Setenv("PATH", dir)
	if r, err := StartRedis(ctx, dir, 2); err == nil || r != nil {
		t.Errorf("redis-server: %v, %v", r, err)
	}
	if n, err := StartNull(ctx, []string{filepath.Join(dir, "no-null")}, dir); err == nil || n != nil {
		t.Errorf("null server: %v, %v", n, err)
	}
}
