package store

import (
	"encoding/binary"
	"fmt"
)

// Type is the data type of a value. The numbers are part of the on-disk and log format.
type Type uint8

const (
	// TypeNone is the type of no value; TYPE answers it for an absent key. Never stored.
	TypeNone Type = 0
	// TypeString is a string of bytes, including the counters of INCR.
	TypeString Type = 1
	// Reserved for collections; see "On disk" in the package comment.
	TypeHash Type = 2
	TypeList Type = 3
	TypeSet  Type = 4
	TypeZSet Type = 5
)

// String returns the name that Redis's TYPE answers with.
func (t Type) String() string {
	switch t {
	case TypeNone:
		return "none"
	case TypeString:
		return "string"
	case TypeHash:
		return "hash"
	case TypeList:
		return "list"
	case TypeSet:
		return "set"
	case TypeZSet:
		return "zset"
	default:
		return fmt.Sprintf("type(%d)", uint8(t))
	}
}

// storable reports whether this version can apply values of type t. Collections are rejected until their members are
// stored too: a member that accepted what another rejects would diverge.
func (t Type) storable() bool { return t == TypeString }

// Value is what a key holds.
type Value struct {
	Type Type
	// ExpireAt is the unix time in milliseconds from which on the key is absent; 0 means never.
	ExpireAt int64
	// Data is the string's bytes. Functions that return a Value document who owns it.
	Data []byte
}

// expired reports whether v is absent at now (unix ms). As in Redis, a key lives until the end of the millisecond before
// ExpireAt.
func (v Value) expired(now int64) bool { return v.ExpireAt != 0 && v.ExpireAt <= now }

const (
	valueVersion    = 1
	valueHeaderSize = 10
)

// putValueHeader writes the header of v to dst, which has valueHeaderSize bytes.
func putValueHeader(dst []byte, v Value) {
	dst[0] = valueVersion
	dst[1] = byte(v.Type)
	binary.LittleEndian.PutUint64(dst[2:], uint64(v.ExpireAt))
}

// decodeValue returns the value stored as raw; its Data aliases raw.
func decodeValue(raw []byte) (Value, error) {
	if len(raw) < valueHeaderSize {
		return Value{}, fmt.Errorf("decode value: %d bytes, want at least %d", len(raw), valueHeaderSize)
	}
	if raw[0] != valueVersion {
		return Value{}, fmt.Errorf("decode value: version %d, this build knows %d", raw[0], valueVersion)
	}
	return Value{
		Type:     Type(raw[1]),
		ExpireAt: int64(binary.LittleEndian.Uint64(raw[2:])),
		Data:     raw[valueHeaderSize:],
	}, nil
}
