package decide

import (
	"fmt"
	"maps"
	"slices"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// cannotBeMade says why a member has no pod, in the words of whoever refused it; "" if nobody did.
func (d *decision) cannotBeMade(name string) string {
	why, tried := d.Unmade[name]
	if !tried || d.Members[name].Pod != nil {
		return ""
	}
	return fmt.Sprintf("%s cannot be created: %s", name, why)
}

// unmade says why the members that are needed beyond the roster cannot be made.
func (d *decision) unmade(rec Record) []string {
	members := d.roster(rec)
	room := d.Store.Spec.Size() - len(d.able(rec))
	var out []string
	for _, name := range d.tried() {
		listed := slices.ContainsFunc(members, func(m Member) bool { return m.Name == name })
		if why := d.cannotBeMade(name); why != "" && !listed && len(out) < room {
			out = append(out, why)
		}
	}
	return out
}

// tried lists the members that could not be made at the last attempt, lowest ordinal first.
func (d *decision) tried() []string {
	ordinal := func(name string) int {
		n, _ := v1alpha1.MemberOrdinal(d.Store.Name, name)
		return n
	}
	return slices.SortedFunc(maps.Keys(d.Unmade), func(a, b string) int { return ordinal(a) - ordinal(b) })
}

// whyFewer says, as a sentence for people who wait for members, why the first of them cannot be made; "" if none was
// refused.
func (d *decision) whyFewer(rec Record) string {
	var all []string
	surplus := d.surplus(rec)
	for _, m := range d.roster(rec) {
		if why := d.cannotBeMade(m.Name); why != "" && !surplus[m.Name] && !m.waitsForClaim() {
			all = append(all, why)
		}
	}
	all = append(all, d.unmade(rec)...)
	switch len(all) {
	case 0:
		return ""
	case 1:
		return " " + all[0] + "."
	default:
		return fmt.Sprintf(" %s; nor can %d more.", all[0], len(all)-1)
	}
}
