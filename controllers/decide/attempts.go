package decide

import "time"

// The pause before retrying a member that could not be made. It doubles with each attempt, up to lastAttemptRest: what keeps
// the member away, such as a quota, may last for days.
const (
	firstAttemptRest = 100 * time.Millisecond
	lastAttemptRest  = 30 * time.Second
)

// Attempts remembers by name the members that could not be made.
type Attempts map[string]attempt

// attempt is how often in a row a member could not be made from one spec, when that last happened, and why.
type attempt struct {
	hash  string // of the spec
	times int
	at    time.Time
	err   error
}

// Rests returns why the last attempt to make a member failed if it is too early for the next; nil if it is not. hash is of
// the present spec: another spec is tried at once.
func (a Attempts) Rests(member, hash string, now time.Time) error {
	last := a[member]
	if last.hash == hash && now.Sub(last.at) < doubled(firstAttemptRest, lastAttemptRest, last.times) {
		return last.err
	}
	return nil
}

// Ended remembers how an attempt to make a member from a spec ended.
func (a Attempts) Ended(member, hash string, err error, now time.Time) {
	last := a[member]
	if delete(a, member); err == nil {
		return
	}
	if last.hash != hash {
		last.times = 0
	}
	a[member] = attempt{hash, last.times + 1, now, err}
}

// Unmade returns Observed.Unmade, in the words that tell returns for the error of an attempt.
func (a Attempts) Unmade(tell func(error) string) map[string]string {
	out := make(map[string]string, len(a))
	for member, last := range a {
		out[member] = tell(last.err)
	}
	return out
}
