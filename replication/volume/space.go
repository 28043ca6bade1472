package volume

// Level is how full a volume is.
type Level uint8

const (
	// Ample means that there is enough room, or the file system does not say.
	Ample Level = iota
	// NearlyFull means that little is left.
	NearlyFull
	// Full means that what is left is needed to get out of this state.
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

// Space describes a volume at a recent moment, in bytes. The zero value means that nothing is known.
type Space struct {
	Total int64
	Used  int64
	// Free is what may still be used, not counting the reserve.
	Free int64
	// Reserve is what is set aside; Missing is what the reserve lacks.
	Reserve, Missing int64
	Level            Level
}

const (
	reserveMost  = 64 << 20
	reserveShare = 50 // a fraction of the volume: one part in this many

	nearMost, nearPercent = 4 << 30, 15
	fullMost, fullPercent = 1 << 30, 10
	floorPercent          = 40 // percentage of FullBelow
)

// NearBelow returns the free space below which a volume counts as nearly full.
func (s Space) NearBelow() int64 { return min(s.Total*nearPercent/100, nearMost) }

// FullBelow returns the free space below which data may not grow any more.
func (s Space) FullBelow() int64 { return min(s.Total*fullPercent/100, fullMost) }

// Floor returns the free space that segments of the log must leave.
func (s Space) Floor() int64 { return s.FullBelow() * floorPercent / 100 }

// next returns the level after another measurement. A level is left only a quarter above where it is entered, because free
// space goes up and down as files come and go.
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
