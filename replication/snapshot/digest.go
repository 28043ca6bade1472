package snapshot

import (
	"fmt"
	"hash"
	"io"

	"github.com/cespare/xxhash/v2"
)

// digestSize is that of XXH64 in bytes. It guards against decay and mistakes; whoever may send a snapshot may send any.
const digestSize = 8

// hashPrefix returns a digest that has taken in the first n bytes of r.
func hashPrefix(r io.ReaderAt, n int64) (hash.Hash, error) {
	d := xxhash.New()
	if m, err := io.CopyBuffer(d, io.NewSectionReader(r, 0, n), make([]byte, 256<<10)); err != nil || m < n {
		return nil, fmt.Errorf("read %d of %d bytes: %w", m, n, err)
	}
	return d, nil
}
