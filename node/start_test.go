package node

import (
	"context"
	"net"
	"testing"

	"github.com/go-logr/logr"
)

// A node that cannot start says why, and gives its ports back: it panicked where the volume was in use, as by the pod before it that was
// deleted by force. (Found in the log of a pod.)
func TestStartInADirectoryInUse(t *testing.T) {
	dir := t.TempDir()
	first, err := Start(context.Background(), Options{Data: dir, Listen: "127.0.0.1:0", Memory: 32 << 20, Log: logr.Discard()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = first.Stop() }()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	if second, err := Start(context.Background(), Options{Data: dir, Listen: address, Memory: 32 << 20, Log: logr.Discard()}); err == nil {
		_ = second.Stop()
		t.Fatal("two nodes share a directory")
	} else {
		t.Log(err)
	}
	if l, err = net.Listen("tcp", address); err != nil {
		t.Fatalf("the port of the node that did not start: %v", err)
	}
	_ = l.Close()
}
