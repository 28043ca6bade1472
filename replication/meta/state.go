package meta

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/replicatedstore/replicatedstore/replication"
)

// State is the content of the META file.
type State struct {
	// Store and Member name the store and the member that this directory belongs to.
	Store  string `json:"store"`
	Member string `json:"member"`
	// StoreUID is the UID of the store to which the last promise was made. A volume that outlives its store keeps that
	// store's UID until the next store of the same name takes it over by having it make a promise. "" before the first
	// promise.
	StoreUID string `json:"storeUID,omitempty"`
	// Incarnation is a random name made with the directory; an emptied or re-created directory has another one. See also
	// Store.Renew and Store.Install.
	Incarnation string `json:"incarnation"`
	// Promises holds the promised epoch and the last leadership joined.
	Promises replication.Promises `json:"promises"`
	// Generation N makes wal-N and state-N the current directories. It is at least 1.
	Generation uint64 `json:"generation"`
	// Seed is the snapshot being received into a later generation; nil when there is none.
	Seed *Seed `json:"seed,omitempty"`
	// SeedsUntil is when the member's budget of snapshots will be whole again, by its own wall clock in Unix milliseconds.
	SeedsUntil int64 `json:"seedsUntil,omitempty"`
	// Quarantined counts the entries that were cut from this member's logs and are kept in its quarantine directory.
	Quarantined uint64 `json:"quarantined,omitempty"`
	// Renewals counts how often the directory was given a new incarnation with Renew, as far as it knows: it may itself be
	// an older copy.
	Renewals uint64 `json:"renewals,omitempty"`
}

// Seed is a snapshot being received. It survives restarts, so that the transfer can resume.
type Seed struct {
	// Generation is the generation that the seed becomes; it is above State.Generation.
	Generation uint64 `json:"generation"`
	// ID is that of the manifest being received; "" until one was accepted.
	ID string `json:"id"`
	// From names the member that sends it.
	From string `json:"from"`
	// Mark is where its log continues.
	Mark replication.Mark `json:"mark"`
	// Dropped means that the current generation was given up, to make room or because it is unusable. Until the seed is
	// installed this member holds nothing: it is no voter, cannot be promoted, and seeds nobody.
	Dropped bool `json:"dropped,omitempty"`
}

func (s State) clone() State {
	if s.Seed != nil {
		seed := *s.Seed
		s.Seed = &seed
	}
	return s
}

// check rejects a change that violates an invariant of the package.
func (s State) check(next State) error {
	switch {
	case next.Store != s.Store || next.Member != s.Member || next.Incarnation != s.Incarnation:
		return fmt.Errorf("identity %s/%s@%s may not become %s/%s@%s", s.Store, s.Member, s.Incarnation, next.Store, next.Member, next.Incarnation)
	case next.Promises.Promised < s.Promises.Promised:
		return fmt.Errorf("promise of epoch %d may not fall to %d", s.Promises.Promised, next.Promises.Promised)
	case next.Generation < s.Generation:
		return fmt.Errorf("generation %d may not fall to %d", s.Generation, next.Generation)
	default:
		return next.valid()
	}
}

// checkRenewed is check for changes that may replace the incarnation.
func (s State) checkRenewed(next State) error {
	s.Incarnation = next.Incarnation
	return s.check(next)
}

func (s State) valid() error {
	switch {
	case s.Store == "" || s.Member == "" || s.Incarnation == "":
		return errors.New("store, member and incarnation must be named")
	case s.Generation == 0:
		return errors.New("generation is 0")
	case s.Seed != nil && s.Seed.Generation <= s.Generation:
		return fmt.Errorf("seed of generation %d while %d is current", s.Seed.Generation, s.Generation)
	default:
		return nil
	}
}

const (
	formatVersion = 1
	maxFileBytes  = 4 << 20
)

// Errors of reading META.
var (
	// ErrCorrupt means that the file exists, but is not what was written.
	ErrCorrupt = errors.New("META is corrupt")
	// ErrVersion means that another version of this program wrote it.
	ErrVersion = errors.New("META has an unknown format")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode returns the first line, `rstore-meta v1 <length> <crc32c in hex>`, and the JSON that it describes.
func (s State) encode() ([]byte, error) {
	body, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode META: %w", err)
	}
	body = append(body, '\n')
	head := fmt.Appendf(nil, "rstore-meta v%d %d %08x\n", formatVersion, len(body), crc32.Checksum(body, castagnoli))
	return append(head, body...), nil
}

func decode(data []byte) (State, error) {
	head, body, ok := bytes.Cut(data, []byte("\n"))
	var version, length int
	var sum uint32
	if _, err := fmt.Sscanf(string(head), "rstore-meta v%d %d %08x", &version, &length, &sum); err != nil || !ok {
		return State{}, fmt.Errorf("%w: its first line is malformed", ErrCorrupt)
	}
	if version != formatVersion {
		return State{}, fmt.Errorf("%w: version %d, this program reads %d", ErrVersion, version, formatVersion)
	}
	if len(body) != length || crc32.Checksum(body, castagnoli) != sum {
		return State{}, fmt.Errorf("%w: %d bytes with checksum %08x, want %d with %08x", ErrCorrupt, len(body),
			crc32.Checksum(body, castagnoli), length, sum)
	}
	var s State
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil { // the checksum says that it is as it was written
		return State{}, fmt.Errorf("%w: %w", ErrVersion, err)
	}
	if err := s.valid(); err != nil {
		return State{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return s, nil
}
