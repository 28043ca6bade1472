package snapshot

import (
	"fmt"
	"hash"
	"io"

	"github.com/cespare/xxhash/v2"
)

// digestSize is the size of an XXH64 in bytes. The digest guards against decay and mistakes, not against attackers: whoever
// may send a snapshot may send any.
const digestSize = 8

// hashPrefix returns a digest of the first n bytes of r, to which more can be written.
func hashPrefix(r io.ReaderAt, n int64) (hash.Hash, error) {
	d := xxhash.New()
	if m, err := io.CopyBuffer(d, io.NewSectionReader(r, 0, n), make([]byte, 256<<10)); err != nil || m < n {
		return nil, fmt.Errorf("read %d of %d bytes: %w", m, n, err)
	}
	return d, nil
}
