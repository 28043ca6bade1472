package resp

import "sync"

// Connection buffers come from pools in two sizes, in bytes, and go back when the connection has nothing to do, so that an idle
// connection holds none. Longer buffers are allocated for a single request; see ration.
const (
	smallBuffer = 16 << 10
	largeBuffer = 128 << 10
)

var (
	smallBuffers = sync.Pool{New: func() any { return new([smallBuffer]byte) }}
	largeBuffers = sync.Pool{New: func() any { return new([largeBuffer]byte) }}
)

// takeBuffer returns an empty buffer with room for at least n bytes.
func takeBuffer(n int) []byte {
	switch {
	case n <= smallBuffer:
		return smallBuffers.Get().(*[smallBuffer]byte)[:0]
	case n <= largeBuffer:
		return largeBuffers.Get().(*[largeBuffer]byte)[:0]
	default:
		return make([]byte, 0, n)
	}
}

// giveBuffer returns b to its pool. Nobody may use b afterwards. Buffers of other sizes are left to the garbage collector.
func giveBuffer(b []byte) {
	switch cap(b) {
	case smallBuffer:
		smallBuffers.Put((*[smallBuffer]byte)(b[:smallBuffer]))
	case largeBuffer:
		largeBuffers.Put((*[largeBuffer]byte)(b[:largeBuffer]))
	}
}

// growBuffer returns a buffer with b's content and room for n bytes in total. b must not be used afterwards.
func growBuffer(b []byte, n int) []byte {
	if n <= cap(b) {
		return b
	}
	grown := append(takeBuffer(n), b...)
	giveBuffer(b)
	return grown
}
