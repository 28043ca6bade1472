// Package volume keeps a member able to act on a full volume.
//
// Log, META, snapshots, quarantine and the state machine share one volume. Two things keep the last of them from taking what
// another one needs:
//
//   - Levels. Measure tells how much is free and what follows: below Near a member gives up what it keeps for others' comfort;
//     below Full a leader refuses what makes the data grow; below Floor no new segment of the log is begun.
//   - A reserve, really allocated: files reserve/0..7 of together min(64 MiB, a fiftieth of the volume). An operation of a View
//     that meets a full volume has one of them removed and is tried again, until it passes or nothing is left that it may
//     take. What was taken is set aside again (Refill) once there is room.
//
// So there are four uses of a volume:
//
//	Growth    segments of the log for data: files that are not begun below the floor
//	Ordinary  whatever the file system gives: tables of a compaction, snapshots being received, checkpoints
//	Bulk      what makes room in the end, but may be large: tables of a flush, quarantine files; all of the
//	          reserve but the last quarter
//	Vital     what is small and must not fail: META, the state machine's manifest, an epoch's barrier, the disk probe
//
// Free never counts what the reserve lacks, so a refilled reserve does not change it.
//
// May import: the standard library, vfs and durable.
package volume
