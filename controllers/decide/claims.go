package decide

import (
	"fmt"
	"strings"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// claimPatience is how long a claim may take to go before its member counts as one that cannot be made.
const claimPatience = 30 * time.Second

// findStuckClaims notes which members wait for their claim to go, and for how long. It is called first, so that the timing
// is not interrupted whatever else is decided.
func (d *decision) findStuckClaims() {
	d.stuck = map[string]bool{}
	for _, m := range d.byOrdinal() {
		if m.waitsForClaim() && d.lasting(fmt.Sprintf("claim of %s goes: %s", m.Name, m.Claim.UID), claimPatience) {
			d.stuck[m.Name] = true
		}
	}
}

// waitsForClaim reports whether the member cannot be made until its claim, which is being deleted, is gone.
func (m Member) waitsForClaim() bool { return m.Pod == nil && m.Claim != nil && m.Claim.Deleting }

// losesData reports whether the member's volume will go as soon as its pod does: the claim was deleted, and Kubernetes keeps
// it only while a pod uses it.
func (m Member) losesData() bool {
	return m.Pod != nil && !m.Pod.Deleting && m.Claim != nil && m.Claim.Deleting
}

// reseeds reports whether the member is being reseeded: that was requested and its claim is deleted, so what it holds is
// about to go.
func (m Member) reseeds() bool {
	return m.Pod != nil && m.Pod.Reseed && m.Claim != nil && m.Claim.Deleting
}

// losing names the members that would lose their data with their pods, except where that is intended.
func (d *decision) losing(rec Record) (out []string) {
	for _, m := range d.roster(rec) {
		if m.losesData() && !m.Pod.Reseed && !d.surplus(rec)[m.Name] {
			out = append(out, m.Name)
		}
	}
	return out
}

// whatGoes says what members lose with their pods, and the way out: the deletion of a claim cannot be undone.
func whatGoes(members []string) string {
	return fmt.Sprintf("The volume claims of %s were deleted and last only as long as their pods: without its pod, a member loses its data. "+
		"Reseed the followers among them one at a time (annotate the pod with %s), then let one of those lead and reseed the "+
		"last. If there is only one member, raise spec.replicas first.", strings.Join(members, ", "), v1alpha1.AnnotationReseed)
}

// claimLag is how much later than its pod a claim may become visible, although the claim is made first.
const claimLag = 5 * time.Second

// lacksClaim reports whether the member's pod waits for a node and always will, because its claim is gone: nobody makes a
// new claim for an existing pod. (Kubernetes lets a claim go if only pods without a node use it.)
func (m Member) lacksClaim() bool {
	return m.Pod != nil && !m.Pod.Deleting && m.Pod.Node == "" && m.Claim == nil
}

// able lists the members of the roster that have a pod or can get one.
func (d *decision) able(rec Record) []Member {
	var out []Member
	for _, m := range d.roster(rec) {
		if !d.stuck[m.Name] {
			out = append(out, m)
		}
	}
	return out
}

// whyClaimStays says what a claim waits for, and what to do.
func (m Member) whyClaimStays() string {
	held := "an unknown cause"
	if len(m.Claim.Finalizers) > 0 {
		held = strings.Join(m.Claim.Finalizers, ", ")
	}
	return fmt.Sprintf("the claim %s is being deleted but held by %s: remove what holds it; another member takes its place meanwhile", m.Name, held)
}

// stuckClaims describes all stuck claims.
func (d *decision) stuckClaims() string {
	var all []string
	for _, m := range d.byOrdinal() {
		if d.stuck[m.Name] {
			all = append(all, m.whyClaimStays())
		}
	}
	return strings.Join(all, "; ") + "."
}
