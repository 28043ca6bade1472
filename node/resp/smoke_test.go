package resp_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/replicatedstore/replicatedstore/node/resp"
	"github.com/replicatedstore/replicatedstore/node/resp/resptest"
)

func TestGoRedis(t *testing.T) {
	for _, protocol := range []int{2, 3} {
		n := resptest.Start(t, resp.Options{})
		db := redis.NewClient(&redis.Options{Addr: n.Addr, Protocol: protocol})
		defer func() { _ = db.Close() }()
		ctx := t.Context()
		if err := db.Set(ctx, "k", "v", time.Hour).Err(); err != nil {
			t.Fatal(err)
		}
		if got, err := db.Get(ctx, "k").Result(); got != "v" || err != nil {
			t.Fatalf("get: %q, %v", got, err)
		}
	}
}
