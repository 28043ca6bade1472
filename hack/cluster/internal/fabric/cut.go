package fabric

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// All stands for every other machine in a cut.
const All = "all"

// Drop is one direction of a cut: no frame gets from one machine to the other.
type Drop struct {
	From string `json:"from"` // machine, or All
	To   string `json:"to"`   // machine, or All
}

// Direction is the direction of a cut, seen from the machine that is cut off.
type Direction string

const (
	Both Direction = "both"
	In   Direction = "in"  // the machine still sends, but hears nothing
	Out  Direction = "out" // the machine still hears, but is not heard
)

// Cuts is the set of cut directions, kept sorted.
type Cuts []Drop

// Cut returns c with traffic between machine and peer (or All) cut in the given direction.
func (c Cuts) Cut(machine, peer string, d Direction) (Cuts, error) {
	if machine == peer {
		return nil, fmt.Errorf("cut %s from itself", machine)
	}
	in, out := Drop{From: peer, To: machine}, Drop{From: machine, To: peer}
	next := slices.Clone(c)
	switch d {
	case Both:
		next = append(next, in, out)
	case In:
		next = append(next, in)
	case Out:
		next = append(next, out)
	default:
		return nil, fmt.Errorf("cut in direction %q: want both, in or out", d)
	}
	slices.SortFunc(next, func(a, b Drop) int { return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To)) })
	return slices.Compact(next), nil
}

// Heal returns c without the cuts that involve machine. If peer is not empty, only cuts between the two are removed. The peer All
// means the cuts of machine from all, not those from single peers.
func (c Cuts) Heal(machine, peer string) Cuts {
	return slices.DeleteFunc(slices.Clone(c), func(d Drop) bool {
		if peer == "" {
			return d.From == machine || d.To == machine
		}
		return d == Drop{From: machine, To: peer} || d == Drop{From: peer, To: machine}
	})
}

// Ruleset returns the nftables input that puts exactly the cuts c into effect on the switch, in one transaction. The rules sit in
// the bridge's forwarding path and see every frame, so established connections stop immediately.
func (c Cuts) Ruleset() string {
	var b strings.Builder
	b.WriteString("table bridge cuts {}\ndelete table bridge cuts\ntable bridge cuts {\n")
	b.WriteString("\tchain forwarding {\n\t\ttype filter hook forward priority 0; policy accept;\n")
	for _, d := range c {
		b.WriteString("\t\t")
		if d.From != All {
			fmt.Fprintf(&b, "iifname %q ", portName(d.From))
		}
		if d.To != All {
			fmt.Fprintf(&b, "oifname %q ", portName(d.To))
		}
		b.WriteString("drop\n")
	}
	b.WriteString("\t}\n}\n")
	return b.String()
}
