package replication

import (
	"cmp"
	"fmt"
	"strconv"
)

// Epoch numbers a leadership. Epochs only grow; 0 means "before the first leader". At most one member ever leads an epoch.
type Epoch uint64

// Position counts entries (single writes) since the store was created. The first entry has position 1; 0 means "nothing". A
// position alone does not identify a write; (epoch, position) does.
type Position uint64

// Chain is the running CRC-32C over every record up to and including the one that ends at a position. Two logs that agree
// on (position, chain) hold the same bytes up to there.
type Chain uint32

// Mark identifies a prefix of the log: everything up to and including Position, whose last entry was written in Epoch.
//
// Guarantees:
//  1. Marks with equal Epoch and Position identify the same prefix on every member.
//  2. Chain verifies guarantee 1. It takes no part in the order of marks.
type Mark struct {
	Epoch    Epoch    `json:"epoch"`
	Position Position `json:"position"`
	Chain    Chain    `json:"chain"`
}

// Compare orders marks by how much of the store they cover: by epoch first, then by position.
func (m Mark) Compare(o Mark) int {
	return cmp.Or(cmp.Compare(m.Epoch, o.Epoch), cmp.Compare(m.Position, o.Position))
}

func (m Mark) String() string {
	return strconv.FormatUint(uint64(m.Epoch), 10) + "/" + strconv.FormatUint(uint64(m.Position), 10)
}

// Voter is a member that counts towards a quorum, identified by its name and the incarnation of its data directory. A
// member whose directory was emptied or re-created has a new incarnation, and so is no longer the same voter.
type Voter struct {
	Member      string `json:"member"`
	Incarnation string `json:"incarnation"`
}

func (v Voter) String() string { return fmt.Sprintf("%s@%.8s", v.Member, v.Incarnation) }

// Rule is a commit rule: an entry is committed under it once it is durable on the leader and on at least K of Voters.
// Voters never contains the leader. K may exceed len(Voters); then nothing commits until a voter is added.
type Rule struct {
	Voters []Voter `json:"voters"`
	K      int     `json:"k"`
}
