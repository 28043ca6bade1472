package peers

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/replicatedstore/replicatedstore/hack/local/process"
)

// Redis is a master with replicas, all with an append-only file that is fsynced before every reply.
type Redis struct {
	group
	Address string // of the master
}

// StartRedis starts a master and replicas below dir and waits until each replica is in sync. All other settings are Redis's
// defaults, except that periodic snapshots are off.
func StartRedis(ctx context.Context, dir string, replicas int) (_ *Redis, err error) {
	ports, err := process.FreePorts(1 + replicas)
	if err != nil {
		return nil, err
	}
	r := &Redis{Address: fmt.Sprintf("127.0.0.1:%d", ports[0])}
	defer func() {
		if err != nil {
			r.Stop()
		}
	}()
	for i, port := range ports {
		data := filepath.Join(dir, "redis-"+strconv.Itoa(i+1))
		if err := os.MkdirAll(data, 0o755); err != nil {
			return nil, err
		}
		argv := []string{
			"redis-server", "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", data, "--save", "",
			"--appendonly", "yes", "--appendfsync", "always", "--repl-diskless-sync-delay", "0", "--maxclients", "20000",
		}
		if i > 0 {
			argv = append(argv, "--replicaof", "127.0.0.1 "+strconv.Itoa(ports[0]))
		}
		if err := r.start(argv, data+".log"); err != nil {
			return nil, err
		}
	}
	c := redis.NewClient(&redis.Options{Addr: r.Address, MaxRetries: -1})
	defer c.Close()
	return r, r.await(ctx, "redis-server", func() error {
		if err := c.Set(ctx, "ready", "", 0).Err(); err != nil {
			return err
		}
		if n, err := c.Wait(ctx, replicas, 0).Result(); err != nil || int(n) < replicas {
			return fmt.Errorf("%d of %d replicas in sync: %w", n, replicas, err)
		}
		return nil
	})
}
