package role

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/replicatedstore/replicatedstore/replication/peer"
)

// Bounds of the wait between attempts to connect: it doubles from RedialFirst to RedialMost. A leader that comes back is
// found within RedialMost.
const (
	RedialFirst = 20 * time.Millisecond
	RedialMost  = 500 * time.Millisecond
	dialTimeout = time.Second
)

// dialler keeps one connection for its link until it is cancelled. The next dialler begins once this one has ended.
type dialler struct {
	link   *Link
	cancel context.CancelFunc
	ended  chan struct{}
}

func (w *works) Connect(l *Link) {
	before := w.dialler
	if before != nil {
		before.cancel()
	}
	if l == nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	d := &dialler{link: l, cancel: cancel, ended: make(chan struct{})}
	w.dialler = d
	go func() {
		defer close(d.ended)
		before.wait()
		w.keepConnected(ctx, d)
	}()
}

// wait returns once a cancelled dialler has ended. A nil dialler has.
func (d *dialler) wait() {
	if d != nil {
		<-d.ended
	}
}

func (w *works) keepConnected(ctx context.Context, d *dialler) {
	wait := RedialFirst
	for ctx.Err() == nil {
		began := w.opt.Now()
		streamed, err := w.connectOnce(ctx, d.link)
		if ctx.Err() != nil {
			return
		}
		if streamed && w.opt.Now().Sub(began) >= RedialMost { // not if streams end as soon as they begin
			wait = RedialFirst
		}
		w.opt.Log.V(1).Info("connection to the leader ended", "leader", d.link.target.leader, "error", fmt.Sprint(err))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
		wait = min(2*wait, RedialMost)
	}
}

func (w *works) dial(ctx context.Context, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return w.opt.Dial(ctx, address)
}

// connectOnce runs one connection. streamed reports whether it got as far as receiving the log, or a whole snapshot.
func (w *works) connectOnce(ctx context.Context, l *Link) (streamed bool, err error) {
	if err := l.Ready(ctx); err != nil {
		return false, err
	}
	conn, err := w.dial(ctx, l.Address())
	if doErr := l.Dialled(ctx, errors.Is(err, syscall.ECONNREFUSED)); doErr != nil || err != nil {
		if conn != nil {
			_ = conn.Close()
		}
		return false, err
	}
	s, err := l.Begin(ctx)
	if err != nil {
		_ = conn.Close()
		return false, err
	}
	err = peer.Follow(ctx, conn, w.dial, s)
	s.End()
	if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, io.EOF) {
		w.opt.Log.Info("stream from the leader ended", "leader", l.target.leader, "error", err.Error())
	}
	return s.Streamed(), err
}
