package load

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
)

// fillBatch is how many SETs Fill has in flight.
const fillBatch = 256

// Fill sets each key from first up to, but not including, last once. Each value is value random bytes, so that the stored data
// does not compress.
func Fill(ctx context.Context, address string, first, last, value int) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	random, r, w := rand.NewChaCha8([32]byte{byte(first)}), bufio.NewReader(c), bufio.NewWriter(c)
	content := make([]byte, value)
	for at := first; at < last; {
		n := min(fillBatch, last-at)
		for range n {
			_, _ = random.Read(content) // cannot fail
			fmt.Fprintf(w, "*3\r\n$3\r\nSET\r\n$16\r\nkey:%012d\r\n$%d\r\n%s\r\n", at, value, content)
			at++
		}
		if err := w.Flush(); err != nil {
			return err
		}
		if err := (Loop{Shape: Shape{Pipeline: n}}).replies(r); err != nil {
			return err
		}
	}
	return nil
}
