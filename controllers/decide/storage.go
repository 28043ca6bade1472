package decide

import (
	"fmt"
	"strings"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// storage judges whether the members' volumes are full or nearly full.
func (d *decision) storage(rec Record) (full, nearly judgement) {
	var fulls, nearlys []string
	for _, m := range d.roster(rec) {
		s := m.fresh()
		if s == nil {
			continue
		}
		switch s.Disk.Level {
		case wire.DiskFull:
			fulls = append(fulls, volume(m.Name, s.Disk))
		case wire.DiskNearlyFull:
			nearlys = append(nearlys, volume(m.Name, s.Disk))
		default:
		}
	}
	if len(fulls) > 0 {
		full = judgement{true, v1alpha1.ReasonStorageFull, fmt.Sprintf("Full: %s. A full leader rejects writes that add data but serves "+
			"reads; a full follower falls behind. %s", strings.Join(fulls, ", "), wayOut)}
	}
	if len(nearlys) > 0 {
		nearly = judgement{true, v1alpha1.ReasonStorageNearlyFull, fmt.Sprintf("Nearly full: %s. %s", strings.Join(nearlys, ", "), wayOut)}
	}
	return full, nearly
}

const wayOut = "Raise spec.storage.size, or delete keys (DEL, UNLINK, FLUSHALL); the member recovers by itself. Quarantined " +
	"entries, if any, can be exported and removed (`/node quarantine` in the pod)."

func volume(name string, disk wire.Disk) string {
	return fmt.Sprintf("%s with %s free of %s", name, wire.Bytes(disk.FreeBytes), wire.Bytes(disk.TotalBytes))
}

// storageNote notes once that a member's volume has little room left.
func storageNote(name string, s *wire.Status) (Note, bool) {
	n := Note{Key: "storage/" + name + "/" + s.Incarnation + "/" + string(s.Disk.Level), Warning: true, Action: "Fill"}
	switch s.Disk.Level {
	case wire.DiskFull:
		n.Reason = v1alpha1.ReasonStorageFull
	case wire.DiskNearlyFull:
		n.Reason = v1alpha1.ReasonStorageNearlyFull
	default:
		return Note{}, false
	}
	n.Message = fmt.Sprintf("The volume is short of space: %s. %s", volume(name, s.Disk), wayOut)
	return n, true
}

// storageStatus describes a member's volume, rounded to one hundredth of its size so that status is not rewritten for every
// byte.
func storageStatus(disk wire.Disk) *v1alpha1.StorageStatus {
	if disk.TotalBytes <= 0 {
		return nil
	}
	step := max(1, disk.TotalBytes/100)
	free := disk.FreeBytes / step * step
	return &v1alpha1.StorageStatus{
		SizeBytes: disk.TotalBytes, FreeBytes: free, Size: wire.Bytes(disk.TotalBytes), Free: wire.Bytes(free), Level: string(disk.Level),
	}
}
