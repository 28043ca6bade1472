package decide

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// Grows reports whether the member's volume should grow to the size in the spec: while the member has a pod and, while the
// store hibernates, if the store consists of it. Claims of members that were scaled away stay as they are.
func (o Observed) Grows(m Member) bool {
	rec := o.Lease.Record
	return m.Pod != nil || o.Store.Spec.Hibernated && (rec == nil || slices.Contains(rec.Named(), m.Name))
}

// GrowAgain is how long to wait before retrying a claim that may not grow: its StorageClass, or a quota, may allow it by
// then.
const GrowAgain = 5 * time.Minute

// resizing judges whether the volumes have the size that the spec asks for.
func (d *decision) resizing() judgement {
	size := d.Store.Spec.Storage.Size
	var refused, overQuota, failed, pending, growing []string
	volumes := 0
	for _, m := range d.byOrdinal() {
		c := m.Claim
		if c == nil || c.Deleting || !d.Grows(m) {
			continue
		}
		volumes++
		switch small := !c.Capacity.IsZero() && c.Capacity.Cmp(size) < 0; {
		case c.Refused != "" && c.Requested.Cmp(size) < 0: // otherwise the claim has been made anew since
			if why := m.Name + ": " + c.Refused; strings.Contains(c.Refused, "exceeded quota") { // its reason is Forbidden, which other errors have too
				overQuota = append(overQuota, why)
			} else {
				refused = append(refused, why)
			}
		case !small:
		case c.Growth == string(corev1.PersistentVolumeClaimControllerResizeError), c.Growth == string(corev1.PersistentVolumeClaimNodeResizeError):
			failed = append(failed, m.Name+": "+c.GrowthMessage)
		case c.Growth == string(corev1.PersistentVolumeClaimFileSystemResizePending):
			pending = append(pending, m.Name)
		default:
			growing = append(growing, m.Name)
		}
	}
	classes := d.otherClasses()
	done := fmt.Sprintf("%d of %d volumes have %s", volumes-len(refused)-len(overQuota)-len(failed)-len(pending)-len(growing), volumes, size.String())
	switch {
	case len(overQuota) > 0:
		return judgement{true, v1alpha1.ReasonApplyFailed, fmt.Sprintf("%s. A ResourceQuota of the namespace leaves no room to grow: %s. Raise it: the operator retries within %s. Until then, members run "+
			"with the volumes they have.%s", done, strings.Join(append(overQuota, refused...), "; "), GrowAgain, classes)}
	case len(refused) > 0:
		return judgement{true, v1alpha1.ReasonVolumeNotExpandable, fmt.Sprintf("%s. %s. Allow expansion in the StorageClass; or, if volumes of that size can be created, %s.%s",
			done, strings.Join(refused, "; "), d.howToReplace(), classes)}
	case len(failed) > 0:
		return judgement{true, v1alpha1.ReasonResizeFailed, fmt.Sprintf("%s. The storage driver reports: %s. It retries by itself: make room for it; or, if it can create a new volume of that "+
			"size, %s. spec.storage.size cannot be lowered again; until then, members run with the volumes they have.%s",
			done, strings.Join(failed, "; "), d.howToReplace(), classes)}
	case len(growing) > 0:
		return judgement{true, v1alpha1.ReasonGrowing, fmt.Sprintf("%s; growing: %s.%s", done, strings.Join(append(growing, pending...), ", "), classes)}
	case len(pending) > 0:
		return judgement{true, v1alpha1.ReasonFileSystemResizePending, fmt.Sprintf("%s; their nodes still have to grow the file systems of %s, which some drivers do only when the pod starts "+
			"(kubectl rstore restart %s).%s", done, strings.Join(pending, ", "), d.Store.Name, classes)}
	default:
		return judgement{false, v1alpha1.ReasonSizeAsAskedFor, "Every volume has the size that the spec asks for." + classes}
	}
}

// OtherClass reports whether class differs from the StorageClass that the spec names.
func OtherClass(store *v1alpha1.ReplicatedStore, class *string) bool {
	want := store.Spec.Storage.StorageClassName
	return want != nil && (class == nil || *class != *want)
}

// otherClasses names the volumes, left by an earlier store of this name, whose class differs from the spec's; "" if there
// are none.
func (d *decision) otherClasses() string {
	var names []string
	for _, m := range d.byOrdinal() {
		if c := m.Claim; c != nil && !c.Deleting && d.Grows(m) && OtherClass(d.Store, c.Class) {
			names = append(names, m.Name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	way := "annotate a follower's pod with " + v1alpha1.AnnotationReseed + " to give it a new one"
	if !d.hasLeader() {
		way = "followers can be given new ones once a member leads"
	}
	return fmt.Sprintf(" These volumes, left by an earlier store, are not of class %s: %s; a volume keeps its class (%s).",
		*d.Store.Spec.Storage.StorageClassName, strings.Join(names, ", "), way)
}

// howToReplace says how members get new volumes, for which there must be a leader.
func (d *decision) howToReplace() string {
	if !d.hasLeader() {
		return "replace them once a member leads and can seed the others"
	}
	return "replace them, one member at a time and followers first, by annotating its pod with " + v1alpha1.AnnotationReseed + ": a new volume has the new size"
}

// hasLeader reports whether the recorded leader itself says that it leads.
func (d *decision) hasLeader() bool {
	rec := d.Lease.Record
	return rec != nil && d.Members[rec.Leader.Member].leads(*rec)
}
