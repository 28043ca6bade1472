package nodeclient

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// firstBuffer is a stream's initial buffer, in bytes: a status is rarely larger, and there are as many streams as members.
const firstBuffer = 4 << 10

// Watch reads the status stream: one JSON object per line, or an empty line that stands for the previous one.
func (c *HTTP) Watch(ctx context.Context, to Target, each func(*wire.Status)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var silent atomic.Bool
	watchdog := time.AfterFunc(c.timeouts.Silence, func() { silent.Store(true); cancel(context.DeadlineExceeded) })
	defer watchdog.Stop()

	req, err := newRequest(ctx, http.MethodGet, to, wire.PathWatch, nil)
	if err != nil {
		return err
	}
	res, err := c.client.Do(req)
	if err != nil {
		return fmt.Errorf("watch %s: %w", to.Address, firstCause(ctx, silent.Load(), err))
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("watch %s: status %d", to.Address, res.StatusCode)
	}
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(make([]byte, 0, firstBuffer), maxBody)
	for lines.Scan() {
		watchdog.Reset(c.timeouts.Silence)
		if len(lines.Bytes()) == 0 {
			each(nil)
			continue
		}
		s := new(wire.Status)
		if err := json.Unmarshal(lines.Bytes(), s); err != nil {
			return fmt.Errorf("decode status from %s: %w", to.Address, err)
		}
		each(s)
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("watch %s: %w", to.Address, firstCause(ctx, silent.Load(), err))
	}
	return fmt.Errorf("watch %s: the member ended the stream", to.Address)
}

func firstCause(ctx context.Context, silent bool, err error) error {
	if silent {
		return context.Cause(ctx)
	}
	return err
}
