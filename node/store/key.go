package store

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"
)

// Slots is the number of slots of Redis Cluster.
const Slots = 16384

// The first byte of every database key names its key space.
const (
	spaceData    = 'd'
	spaceMembers = 'm' // reserved for collections; this build's flush clears it already, so that it leaves nothing of a newer build's behind
	spaceSystem  = 's'
	spaceExpiry  = 'x'
)

const (
	dataPrefixSize   = 1 + 2 + 4
	expiryPrefixSize = 1 + 8 + 2 + 4
)

// appliedKey holds the applied mark.
var appliedKey = []byte{spaceSystem, 'a'}

// spaceBounds returns the range [lower, upper) of one key space.
func spaceBounds(space byte) (lower, upper []byte) { return []byte{space}, []byte{space + 1} }

// Slot returns the Redis Cluster slot of key: CRC-16 (XMODEM) of its hash tag, the bytes between the first '{' and the
// first '}' after it if there are any, else of the whole key; modulo Slots.
func Slot(key []byte) uint16 {
	if open := bytes.IndexByte(key, '{'); open >= 0 {
		if n := bytes.IndexByte(key[open+1:], '}'); n > 0 {
			key = key[open+1 : open+1+n]
		}
	}
	return crc16(key) % Slots
}

// point is a key's place in the data space without the key itself: slot, then hash. It is SCAN's cursor.
type point uint64

func pointOf(key []byte) point { return pointAt(Slot(key), hashOf(key)) }

func pointAt(slot uint16, hash uint64) point { return point(uint64(slot)<<32 | uint64(uint32(hash))) }

func hashOf(key []byte) uint64 { return xxhash.Sum64(key) }

// endPoint is larger than every key's point.
const endPoint = point(Slots) << 32

func (p point) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(p>>32))
	return binary.BigEndian.AppendUint32(dst, uint32(p))
}

func (p point) put(dst []byte) {
	binary.BigEndian.PutUint16(dst, uint16(p>>32))
	binary.BigEndian.PutUint32(dst[2:], uint32(p))
}

// appendPointBound appends the smallest data key at p.
func appendPointBound(dst []byte, p point) []byte { return p.append(append(dst, spaceData)) }

// appendDataKey appends key's data key.
func appendDataKey(dst, key []byte) []byte {
	return append(appendPointBound(dst, pointOf(key)), key...)
}

// putDataKey writes the data key of key, whose point is p, to dst, which has dataPrefixSize+len(key) bytes.
func (p point) putDataKey(dst, key []byte) {
	dst[0] = spaceData
	p.put(dst[1:])
	copy(dst[dataPrefixSize:], key)
}

// splitDataKey returns the point and key of a data key; key aliases raw.
func splitDataKey(raw []byte) (point, []byte, error) {
	if len(raw) < dataPrefixSize || raw[0] != spaceData {
		return 0, nil, fmt.Errorf("decode data key %x: no data key", raw)
	}
	p := uint64(binary.BigEndian.Uint16(raw[1:]))<<32 | uint64(binary.BigEndian.Uint32(raw[3:]))
	return point(p), raw[dataPrefixSize:], nil
}

// putExpiryKey writes the expiry index key of key to dst, which has expiryPrefixSize+len(key) bytes.
func putExpiryKey(dst []byte, expireAt int64, key []byte) {
	dst[0] = spaceExpiry
	binary.BigEndian.PutUint64(dst[1:], uint64(expireAt))
	pointOf(key).put(dst[9:])
	copy(dst[expiryPrefixSize:], key)
}

// expiryBound returns the smallest expiry index key that is due at expireAt.
func expiryBound(expireAt int64) []byte {
	return binary.BigEndian.AppendUint64([]byte{spaceExpiry}, uint64(expireAt))
}

// splitExpiryKey returns expireAt and key of an expiry index key; key aliases raw.
func splitExpiryKey(raw []byte) (int64, []byte, error) {
	if len(raw) < expiryPrefixSize || raw[0] != spaceExpiry {
		return 0, nil, fmt.Errorf("decode expiry key %x: no expiry key", raw)
	}
	return int64(binary.BigEndian.Uint64(raw[1:])), raw[expiryPrefixSize:], nil
}
