package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

const entryVersion = 1

// op is the kind of an effect. The numbers are part of the log format.
type op uint8

const (
	opPut     op = 1
	opDelete  op = 2
	opFlush   op = 3
	opUnindex op = 4
)

func (o op) String() string {
	switch o {
	case opPut:
		return "put"
	case opDelete:
		return "delete"
	case opFlush:
		return "flush"
	case opUnindex:
		return "unindex"
	default:
		return fmt.Sprintf("op(%d)", uint8(o))
	}
}

// effect is one decoded effect. key and value.Data alias the entry. An unindex has its time in value.ExpireAt.
type effect struct {
	op    op
	key   []byte
	value Value
}

func appendPut(dst, key []byte, v Value) []byte {
	dst = append(dst, byte(opPut), byte(v.Type), 0)
	dst = binary.AppendUvarint(dst, uint64(v.ExpireAt))
	return appendBytes(appendBytes(dst, key), v.Data)
}

func appendDelete(dst, key []byte) []byte { return appendBytes(append(dst, byte(opDelete)), key) }

func appendFlush(dst []byte) []byte { return append(dst, byte(opFlush)) }

func appendUnindex(dst []byte, expireAt int64, key []byte) []byte {
	return appendBytes(binary.AppendUvarint(append(dst, byte(opUnindex)), uint64(expireAt)), key)
}

func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// decoder walks the effects of one entry:
//
//	d := decodeEntry(entry)
//	for d.next() { use(d.effect) }
//	if d.err != nil { ... }
type decoder struct {
	rest   []byte
	effect effect
	err    error
}

var errShortEntry = errors.New("entry ends within an effect")

func decodeEntry(entry []byte) decoder {
	if len(entry) == 0 {
		return decoder{err: errors.New("entry is empty")}
	}
	if entry[0] != entryVersion {
		return decoder{err: fmt.Errorf("entry version %d, this build knows %d", entry[0], entryVersion)}
	}
	return decoder{rest: entry[1:]}
}

// next decodes the next effect. It returns false at the end and on an error.
func (d *decoder) next() bool {
	if d.err != nil || len(d.rest) == 0 {
		return false
	}
	d.effect = effect{op: op(d.rest[0])}
	d.rest = d.rest[1:]
	switch d.effect.op {
	case opPut:
		d.put()
	case opDelete:
		d.effect.key = d.bytes()
	case opFlush:
	case opUnindex:
		d.effect.value.ExpireAt = d.millis()
		d.effect.key = d.bytes()
	default:
		d.err = fmt.Errorf("unknown effect %v", d.effect.op)
	}
	return d.err == nil
}

func (d *decoder) put() {
	if len(d.rest) < 2 {
		d.err = errShortEntry
		return
	}
	v := &d.effect.value
	v.Type = Type(d.rest[0])
	if flags := d.rest[1]; flags != 0 {
		d.err = fmt.Errorf("put with unknown flags %#x", flags)
		return
	}
	if !v.Type.storable() {
		d.err = fmt.Errorf("put of unknown %v", v.Type)
		return
	}
	d.rest = d.rest[2:]
	v.ExpireAt = d.millis()
	d.effect.key = d.bytes()
	v.Data = d.bytes()
}

func (d *decoder) millis() int64 {
	u := d.uvarint()
	if u > math.MaxInt64 && d.err == nil {
		d.err = fmt.Errorf("expiry time %d is out of range", u)
	}
	return int64(u)
}

func (d *decoder) uvarint() uint64 {
	if d.err != nil {
		return 0
	}
	u, n := binary.Uvarint(d.rest)
	if n <= 0 {
		d.err = errShortEntry
		return 0
	}
	d.rest = d.rest[n:]
	return u
}

func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if d.err != nil {
		return nil
	}
	if n > uint64(len(d.rest)) {
		d.err = errShortEntry
		return nil
	}
	b := d.rest[:n:n]
	d.rest = d.rest[n:]
	return b
}
