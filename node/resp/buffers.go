package resp

import "sync"

// Buffers of connections come from pools in three sizes and go back when the connection has nothing to do, so that an
// idle connection holds none.
const (
	smallBuffer  = 16 << 10
	mediumBuffer = 128 << 10
	largeBuffer  = 1 << 20
)

var (
	smallBuffers  = sync.Pool{New: func() any { return new([smallBuffer]byte) }}
	mediumBuffers = sync.Pool{New: func() any { return new([mediumBuffer]byte) }}
	largeBuffers  = sync.Pool{New: func() any { return new([largeBuffer]byte) }}
)

// takeBuffer returns an empty buffer with room for at least n bytes.
func takeBuffer(n int) []byte {
	switch {
	case n <= smallBuffer:
		return smallBuffers.Get().(*[smallBuffer]byte)[:0]
	case n <= mediumBuffer:
		return mediumBuffers.Get().(*[mediumBuffer]byte)[:0]
	case n <= largeBuffer:
		return largeBuffers.Get().(*[largeBuffer]byte)[:0]
	default:
		return make([]byte, 0, n)
	}
}

// giveBuffer takes back a buffer whose content nobody needs. Buffers of other sizes are left to the garbage collector.
func giveBuffer(b []byte) {
	switch cap(b) {
	case smallBuffer:
		smallBuffers.Put((*[smallBuffer]byte)(b[:smallBuffer]))
	case mediumBuffer:
		mediumBuffers.Put((*[mediumBuffer]byte)(b[:mediumBuffer]))
	case largeBuffer:
		largeBuffers.Put((*[largeBuffer]byte)(b[:largeBuffer]))
	}
}

// growBuffer returns a buffer with b's content and room for n bytes in total; b must not be used afterwards.
func growBuffer(b []byte, n int) []byte {
	if n <= cap(b) {
		return b
	}
	grown := append(takeBuffer(n), b...)
	giveBuffer(b)
	return grown
}
