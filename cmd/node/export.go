package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/replicatedstore/replicatedstore/node/store"
	"github.com/replicatedstore/replicatedstore/replication"
)

// cut is one effect of an entry that was cut from a log.
type cut struct {
	file      string
	epoch     replication.Epoch
	position  replication.Position
	unixMilli int64 // when the leader of epoch wrote the entry, by its clock
	effect    store.Effect
}

// line is the JSON form of a cut. A key or value that is not valid UTF-8 is base64-encoded, in the field with "Base64" in its name.
type line struct {
	File      string               `json:"file"`
	Epoch     replication.Epoch    `json:"epoch"`
	Position  replication.Position `json:"position"`
	UnixMilli int64                `json:"unixMilli,omitempty"`
	// Op is put, delete, flush (of all keys) or barrier (the beginning of an epoch, which changes nothing).
	Op          string  `json:"op"`
	Key         *string `json:"key,omitempty"`
	KeyBase64   []byte  `json:"keyBase64,omitempty"`
	Type        string  `json:"type,omitempty"`
	Value       *string `json:"value,omitempty"`
	ValueBase64 []byte  `json:"valueBase64,omitempty"`
	// ExpireAt is in Unix milliseconds; absent if the key never expires.
	ExpireAt int64 `json:"expireAtUnixMilli,omitempty"`
}

func jsonWriter(w *bufio.Writer) func(cut) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return func(c cut) error {
		l := line{File: c.file, Epoch: c.epoch, Position: c.position, UnixMilli: c.unixMilli, Op: c.effect.Op}
		switch c.effect.Op {
		case "put":
			l.Type, l.ExpireAt = c.effect.Value.Type.String(), c.effect.Value.ExpireAt
			l.Value, l.ValueBase64 = text(c.effect.Value.Data)
			l.Key, l.KeyBase64 = text(c.effect.Key)
		case "delete":
			l.Key, l.KeyBase64 = text(c.effect.Key)
		}
		return enc.Encode(l)
	}
}

// text returns b as a string if it is valid UTF-8, and as bytes otherwise. The other result is nil.
func text(b []byte) (*string, []byte) {
	if !utf8.Valid(b) {
		return nil, b
	}
	s := string(b)
	return &s, nil
}

// writeCommand writes, in the Redis protocol, the command that repeats c.
func writeCommand(w *bufio.Writer, c cut) error {
	key, v := c.effect.Key, c.effect.Value
	switch c.effect.Op {
	case "put":
		if v.Type != store.TypeString {
			return fmt.Errorf("no single command writes a %v: use --format jsonl", v.Type)
		}
		if v.ExpireAt != 0 {
			return command(w, []byte("SET"), key, v.Data, []byte("PXAT"), strconv.AppendInt(nil, v.ExpireAt, 10))
		}
		return command(w, []byte("SET"), key, v.Data)
	case "delete":
		return command(w, []byte("DEL"), key)
	case "flush":
		return command(w, []byte("FLUSHALL"))
	default: // a barrier
		return nil
	}
}

func command(w *bufio.Writer, args ...[]byte) error {
	fmt.Fprintf(w, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(w, "$%d\r\n", len(a))
		_, _ = w.Write(a)
		_, _ = w.WriteString("\r\n")
	}
	// A bufio.Writer keeps its first error, so one check at the end is enough.
	_, err := w.Write(nil)
	return err
}
