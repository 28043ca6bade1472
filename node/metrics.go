package node

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/replicatedstore/replicatedstore/node/role"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// memberCollector collects role, positions and lag on demand.
type memberCollector struct{ run *role.Runner }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("rstore_"+name, help, labels, nil)
}

var (
	descRole        = desc("role", "1 for the role this member has now.", "role")
	descEpoch       = desc("epoch", "Epoch of the leadership this member is part of.")
	descWritable    = desc("writable", "1 while this member acknowledges writes.")
	descPosition    = desc("position", "Log positions: last, durable, commit, applied.", "end")
	descConnected   = desc("leader_connected", "1 while this follower hears its leader.")
	descFollowerLag = desc("follower_lag_entries", "Entries of the leader's log that a follower has not made durable.", "follower")
	descTimeAhead   = desc("leader_time_ahead_seconds", "On the leader: how far leader time, by which keys expire, is ahead of its machine's clock.")
	descSeedDone    = desc("seed_bytes_done", "Bytes received of the snapshot under way.")
	descSeedTotal   = desc("seed_bytes_total", "Bytes of the snapshot under way; 0 when there is none.")
	descQuarantined = desc("quarantined_entries", "Entries cut from the log by rejoins and kept in quarantine.")
	descLogDamage   = desc("log_damage_total", "Segments of the log that were found damaged on disk since the process began.")
	descOlder       = desc("volume_older_total", "Times the volume was found to hold less than the member had acknowledged.")
	descSyncs       = desc("log_sync_seconds", "Duration of fsyncs of the log, until the member noticed their end.")
	descDisk        = desc("disk_bytes", "The data volume: used, free, total, and the reserve, which is in used.", "kind")
)

func (c memberCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descRole, descEpoch, descWritable, descPosition, descConnected, descFollowerLag, descTimeAhead,
		descSeedDone, descSeedTotal, descQuarantined, descLogDamage, descOlder, descSyncs, descDisk} {
		ch <- d
	}
}

func (c memberCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	// First what can be told even while the member waits for a disk.
	ch <- prometheus.MustNewConstMetric(descLogDamage, prometheus.CounterValue, float64(c.run.Damages()))
	ch <- prometheus.MustNewConstMetric(descOlder, prometheus.CounterValue, float64(c.run.VolumesOlder()))
	syncs, seconds, buckets := c.run.Syncs()
	ch <- prometheus.MustNewConstHistogram(descSyncs, syncs, seconds, buckets)
	s, err := c.run.Status(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(descRole, err)
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for _, r := range []replication.Role{replication.RoleWaiting, replication.RoleFollower, replication.RoleLeader, replication.RoleFenced} {
		gauge(descRole, flag(s.Role == r), string(r))
	}
	gauge(descEpoch, float64(s.Epoch))
	gauge(descWritable, flag(s.Writable))
	gauge(descPosition, float64(s.Last.Position), "last")
	gauge(descPosition, float64(s.Durable.Position), "durable")
	gauge(descPosition, float64(s.Commit), "commit")
	gauge(descPosition, float64(s.Applied), "applied")
	gauge(descConnected, flag(s.Contact != nil && s.Contact.Connected))
	for name, f := range s.Followers {
		gauge(descFollowerLag, float64(max(s.Last.Position, f.Durable)-f.Durable), name)
	}
	if ahead, leads := c.run.TimeAhead(); leads {
		gauge(descTimeAhead, ahead.Seconds())
	}
	seed := s.Seeding
	if seed == nil {
		seed = &wire.Seeding{}
	}
	gauge(descSeedDone, float64(seed.DoneBytes))
	gauge(descSeedTotal, float64(seed.TotalBytes))
	gauge(descQuarantined, float64(s.Quarantined))
	gauge(descDisk, float64(s.Disk.UsedBytes), "used")
	gauge(descDisk, float64(s.Disk.FreeBytes), "free")
	gauge(descDisk, float64(s.Disk.TotalBytes), "total")
	gauge(descDisk, float64(s.Disk.ReserveBytes), "reserve")
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
