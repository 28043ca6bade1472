package volume

import "fmt"

// Level is how full a volume is.
type Level uint8

const (
	// Ample: also where the file system does not say.
	Ample Level = iota
	// NearlyFull: little is left.
	NearlyFull
	// Full: what is left is needed to get out again.
	Full
)

func (l Level) String() string {
	switch l {
	case Ample:
		return "Ample"
	case NearlyFull:
		return "NearlyFull"
	case Full:
		return "Full"
	default:
		return "Invalid"
	}
}

// Space is a volume as it was a moment ago, in bytes. The zero value says that nothing is known.
type Space struct {
	Total int64
	Used  int64
	// Free is what may still be used, beside the reserve.
	Free int64
	// Reserve is set aside; Missing is what it lacks.
	Reserve, Missing int64
	Level            Level
}

const (
	reserveMost  = 64 << 20
	reserveShare = 50 // of the volume: one part in so many

	nearMost, nearPercent = 4 << 30, 15
	fullMost, fullPercent = 1 << 30, 10
	floorPercent          = 40 // of FullBelow
)

// NearBelow is how little free space is nearly none.
func (s Space) NearBelow() int64 { return min(s.Total*nearPercent/100, nearMost) }

// FullBelow is how little free space is none for data to grow into.
func (s Space) FullBelow() int64 { return min(s.Total*fullPercent/100, fullMost) }

// Floor is what segments of the log leave free.
func (s Space) Floor() int64 { return s.FullBelow() * floorPercent / 100 }

// next is the level after another look. A level is left a quarter above where it is entered: free space goes up and down as
// files come and go.
func (s Space) next(before Level) Level {
	leave := func(below int64, l Level) int64 {
		if before >= l {
			return below + below/4
		}
		return below
	}
	switch {
	case s.Total <= 0:
		return Ample
	case s.Free < leave(s.FullBelow(), Full):
		return Full
	case s.Free < leave(s.NearBelow(), NearlyFull):
		return NearlyFull
	default:
		return Ample
	}
}

// String tells it to people.
func (s Space) String() string {
	return fmt.Sprintf("%s free of %s", Bytes(s.Free), Bytes(s.Total))
}

// Bytes for people, in powers of 1024.
func Bytes(n int64) string {
	const units = "KMGTP"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	v, i := float64(n)/1024, 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	return fmt.Sprintf("%.1f %ciB", v, units[i])
}
