package snapshot

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wal"
)

const (
	manifestVersion = 1
	// maxFiles bounds a manifest. With Pebble's file sizes this is far above a terabyte.
	maxFiles    = 200_000
	maxNameLen  = 200
	partSuffix  = ".part" // of a file that is not complete yet
	maxIDLength = 64
)

// ErrManifest reports a manifest that no source of this program makes.
var ErrManifest = errors.New("bad snapshot manifest")

// File is one file of a snapshot.
type File struct {
	Name string `json:"name"`
	Size int64  `json:"size"` // bytes
}

// Manifest describes a snapshot: what it contains, and where the log continues.
type Manifest struct {
	Version int `json:"version"`
	// ID identifies this checkpoint of this source. Two manifests with the same ID are identical.
	ID    string `json:"id"`
	Store string `json:"store"`
	// Mark is the last log entry that the state contains; the new log continues after it. Epochs is the history up to
	// there. The zero Mark stands for a state that contains nothing yet, where the source's log is whole from its
	// beginning; see Source.
	Mark   replication.Mark       `json:"mark"`
	Epochs replication.EpochTable `json:"epochs"`
	Files  []File                 `json:"files"`
	// Total is the sum of the file sizes in bytes.
	Total int64 `json:"total"`
}

// Check rejects a manifest that exceeds a bound or names a file outside its directory.
func (m *Manifest) Check() error {
	switch {
	case m.Version != manifestVersion:
		return fmt.Errorf("%w: version %d, this program reads %d", ErrManifest, m.Version, manifestVersion)
	case m.ID == "" || len(m.ID) > maxIDLength:
		return fmt.Errorf("%w: id of %d bytes", ErrManifest, len(m.ID))
	case m.Mark == (replication.Mark{}) && len(m.Epochs) > 0,
		m.Mark != (replication.Mark{}) && (m.Mark.Position == 0 || m.Mark.Epoch == 0):
		return fmt.Errorf("%w: it ends in %v", ErrManifest, m.Mark)
	case len(m.Files) > maxFiles:
		return fmt.Errorf("%w: %d files exceed %d", ErrManifest, len(m.Files), maxFiles)
	}
	if err := wal.CheckStart(m.Mark, m.Epochs); err != nil { // otherwise Install would fail, which is final
		return fmt.Errorf("%w: it ends in %v: %w", ErrManifest, m.Mark, err)
	}
	return m.checkFiles()
}

func (m *Manifest) checkFiles() error {
	var total int64
	seen := make(map[string]bool, len(m.Files))
	for _, f := range m.Files {
		if err := checkName(f.Name); err != nil {
			return err
		}
		if seen[f.Name] || f.Size < 0 || f.Size > math.MaxInt64-total {
			return fmt.Errorf("%w: file %q twice, or of %d bytes", ErrManifest, f.Name, f.Size)
		}
		seen[f.Name] = true
		total += f.Size
	}
	if total != m.Total {
		return fmt.Errorf("%w: files of %d bytes, the total says %d", ErrManifest, total, m.Total)
	}
	return nil
}

// checkName accepts the names that occur in a flat directory of Pebble files, so that a source cannot make the receiver
// write anywhere else.
func checkName(name string) error {
	ok := name != "" && len(name) <= maxNameLen && name[0] != '.' && !strings.HasSuffix(name, partSuffix)
	for _, c := range []byte(name) {
		ok = ok && (c == '-' || c == '_' || c == '.' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z')
	}
	if !ok {
		return fmt.Errorf("%w: file name %q", ErrManifest, name)
	}
	return nil
}

func decodeManifest(data []byte) (Manifest, error) {
	var m Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return Manifest{}, fmt.Errorf("%w: %w", ErrManifest, err)
	}
	return m, m.Check()
}
