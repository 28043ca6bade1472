// Package store is a data node's state machine: keys and values on Pebble, changed only by applying committed log
// records. It also has the Sequencer, with which a leader turns commands into log entries.
//
// There are two halves:
//
//   - Machine holds the applied state of one member. Apply is deterministic: members that applied the same records hold
//     the same bytes, however the records were split across calls.
//   - Sequencer belongs to a leader. It evaluates commands against the applied state overlaid with everything still in
//     flight, and queues the resulting entries for the role goroutine to seal into records.
//
// May import: the standard library, Pebble with its vfs and fifo (of crlib), logr, xxhash, and replication's value types
// and records. It knows neither the client protocol nor roles, elections or Kubernetes; time is passed in.
//
// # Entries
//
// An entry is one client write: the bytes between two length prefixes in a record's payload. Format 1:
//
//	version   u8 = 1
//	effects, each:
//	  put     u8 = 1 | type u8 | flags u8 = 0 | uvarint expireAt | uvarint len, key | uvarint len, data
//	  delete  u8 = 2 | uvarint len, key
//	  flush   u8 = 3                              every key, and everything that belongs to keys
//	  unindex u8 = 4 | uvarint expireAt | uvarint len, key    one entry of the expiry index, not the key
//
// Effects are logical and blind: applying one never reads. The decoder rejects anything it does not know, because
// skipping it would make members diverge.
//
// Applied effects are collected in memory and poured into the database in large, sorted pieces: see recent.
//
// # On disk
//
// The state is one Pebble database without a WAL (the replicated log is the only log). Format 1. Integers in keys are big
// endian so that they sort; integers in values are little endian:
//
//	's' 'a'                                     applied: format u16 | epoch u64 | position u64 | chain u32 | unixMilli i64
//	'd' slot u16 hash u32 key                   version u8 = 1 | type u8 | expireAt i64 | data
//	'x' expireAt u64 slot u16 hash u32 key      empty: the key may expire at expireAt (unix ms)
//	'm' slot u16 hash u32 uvarint len, key, generation u64, field    reserved: members of hash, list, set, zset
//
// slot is the Redis Cluster slot (CRC-16 of the key or of its hash tag, modulo 16384). hash is the lower half of the
// key's XXH64. SCAN's cursor is the (slot, hash) of the next key. It needs no state on the server, and a key that exists
// for the whole scan is always returned, as Redis guarantees. Keys with the same slot and hash are returned by one call.
//
// Collection types will store generation u64 in data, before their own header. The generation is derived from the
// position of the entry that created the collection. Deleting a collection then costs one range delete, and stale members
// of an older generation of the same key are invisible.
//
// Every Pebble batch ends at a record boundary and also writes 's' 'a'. So whatever a crash, a flush or a checkpoint
// leaves behind names the exact prefix of the log that it holds.
//
// The expiry index may hold stale entries: a blind overwrite leaves the old value's index entry behind. It never lacks an
// entry. Sequencer.Expire checks each due entry against the key's current value and logs an unindex for stale ones.
package store
