package store

// flight is a queue of the entries in flight, oldest first: a growing ring.
type flight struct {
	ring  [][]byte // length is a power of two
	head  int      // index of the oldest
	count int
}

func (f *flight) push(entry []byte) {
	if f.count == len(f.ring) {
		f.grow()
	}
	f.ring[(f.head+f.count)&(len(f.ring)-1)] = entry
	f.count++
}

func (f *flight) grow() {
	ring := make([][]byte, max(64, 2*len(f.ring)))
	n := copy(ring, f.ring[f.head:])
	copy(ring[n:], f.ring[:f.head])
	f.ring, f.head = ring, 0
}

// at returns the i-th oldest entry.
func (f *flight) at(i int) []byte { return f.ring[(f.head+i)&(len(f.ring)-1)] }

// pop removes the oldest entry.
func (f *flight) pop() []byte {
	entry := f.ring[f.head]
	f.ring[f.head] = nil
	f.head = (f.head + 1) & (len(f.ring) - 1)
	f.count--
	return entry
}
