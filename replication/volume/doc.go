// Package volume keeps a member able to act on a full volume.
//
// Log, META, snapshots, quarantine and the state machine share one volume. Two mechanisms keep one of them from taking the
// space that another one needs:
//
//   - Levels. Measure tells how much is free and what follows from that: below Near a member gives up what it keeps for the
//     benefit of others; below Full a leader refuses what makes the data grow; below Floor no new segment of the log is
//     begun.
//   - A reserve that is really allocated: files reserve/0..7, together min(64 MiB, a fiftieth of the volume). When an
//     operation of a View finds the volume full, one of them is removed and the operation is retried, until it succeeds or
//     no file is left that it may take. What was taken is set aside again (Refill) once there is room.
//
// A volume therefore has four uses:
//
//	Growth    segments of the log for data: files that are not begun below the floor
//	Ordinary  whatever the file system gives: tables of a compaction, snapshots being received, checkpoints
//	Bulk      what makes room in the end, but may be large: tables of a flush, quarantine files; all of the
//	          reserve but the last quarter
//	Vital     what is small and must not fail: META, the state machine's manifest, an epoch's barrier, the disk probe
//
// Free is reduced by what the reserve lacks, so refilling the reserve does not change it.
//
// May import: the standard library, vfs and durable.
package volume
