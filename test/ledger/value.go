package ledger

import (
	"fmt"
	"hash/crc32"
)

// Kind is the kind of a write; see the package comment.
type Kind string

const (
	Overwrite Kind = "overwrite"
	Unique    Kind = "unique"
	Count     Kind = "count"
)

// Kinds are all kinds, in the order in which a connection cycles through them.
var Kinds = []Kind{Overwrite, Unique, Count}

// value encodes a write's number so that damaged and foreign values are recognized: "writer number checksum".
func value(writer string, number uint64) string {
	body := fmt.Sprintf("%s %d", writer, number)
	return fmt.Sprintf("%s %08x", body, checksum(body))
}

// parseValue returns the number in a value that this writer encoded, and false for any other value.
func parseValue(writer, v string) (number uint64, ok bool) {
	var w string
	var sum uint32
	if _, err := fmt.Sscanf(v, "%s %d %08x", &w, &number, &sum); err != nil || w != writer {
		return 0, false
	}
	return number, v == value(writer, number)
}

func checksum(s string) uint32 { return crc32.Checksum([]byte(s), crc32.MakeTable(crc32.Castagnoli)) }
