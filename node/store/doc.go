// Package store is the state machine of a data node: keys and values on Pebble, changed only by applying committed log
// records, and the sequencer with which a leader turns commands into log entries.
//
// Two halves meet here:
//
//   - Machine holds the applied state of one member. Apply is deterministic: members that applied the same records hold
//     the same bytes, however the records were grouped into calls.
//   - Sequencer belongs to a leader. It evaluates commands against the applied state overlaid with everything still in
//     flight, and queues the resulting entries for the role goroutine to seal into records.
//
// May import: the standard library, Pebble with its vfs and fifo (of crlib), logr, xxhash, and replication's value types and records. It knows
// neither the client protocol nor roles, elections or Kubernetes; time is passed in.
//
// # Entries
//
// An entry is one client write, the bytes between two length prefixes of a record's payload. Format 1:
//
//	version   u8 = 1
//	effects, each:
//	  put     u8 = 1 | type u8 | flags u8 = 0 | uvarint expireAt | uvarint len, key | uvarint len, data
//	  delete  u8 = 2 | uvarint len, key
//	  flush   u8 = 3                              every key, and everything that belongs to keys
//	  unindex u8 = 4 | uvarint expireAt | uvarint len, key    one entry of the expiry index, not the key
//
// What is applied is collected in memory and poured into the database in large, sorted pieces: see recent.
//
// Effects are logical and blind: applying one never reads. What the decoder does not know it refuses, because skipping
// it would make members differ.
//
// # On disk
//
// One Pebble database without a WAL (the replicated log is the only log). Format 1; integers in keys are big endian so
// that they sort, integers in values are little endian:
//
//	's' 'a'                                     applied: format u16 | epoch u64 | position u64 | chain u32 | unixMilli i64
//	'd' slot u16 hash u32 key                   version u8 = 1 | type u8 | expireAt i64 | data
//	'x' expireAt u64 slot u16 hash u32 key      empty: the key may expire at expireAt (unix ms)
//	'm' slot u16 hash u32 uvarint len, key, generation u64, field    reserved: members of hash, list, set, zset
//
// slot is the Redis Cluster slot (CRC-16 of the key or of its hash tag, modulo 16384); hash is the lower half of the
// key's XXH64. SCAN's cursor is (slot, hash) of the next key: it needs no state on the server, and a key that stays for
// the whole scan is always returned, as Redis guarantees. Keys that share slot and hash are returned by one call.
//
// Collection types will keep generation u64 before their own header in data, drawn from the position of the entry that
// created the collection; deleting one then costs one range delete, and stale members of an older generation of the same
// key are invisible.
//
// Every Pebble batch ends at a record's end and also writes 's' 'a', so what a crash, a flush or a checkpoint leaves behind always names the exact
// prefix of the log that it holds.
//
// The expiry index may hold more than is true: a blind overwrite leaves the index entry of the old value behind. It never
// holds less. Sequencer.Expire checks each due entry against the key's current value and logs an unindex for stale ones.
package store
