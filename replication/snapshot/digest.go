package snapshot

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
)

const digestSize = sha256.Size

// hashPrefix returns a digest that has taken in the first n bytes of r.
func hashPrefix(r io.ReaderAt, n int64) (hash.Hash, error) {
	d := sha256.New()
	if m, err := io.CopyBuffer(d, io.NewSectionReader(r, 0, n), make([]byte, 256<<10)); err != nil || m < n {
		return nil, fmt.Errorf("read %d of %d bytes: %w", m, n, err)
	}
	return d, nil
}
