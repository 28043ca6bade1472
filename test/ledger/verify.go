package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// Member is one member of the store with its own client address.
type Member struct {
	Name    string `json:"name"`
	Address string `json:"address"`
}

// Loss is one acknowledged write that a member does not hold.
type Loss struct {
	Member string    `json:"member"`
	Number uint64    `json:"number"`
	Key    string    `json:"key"`
	At     time.Time `json:"at"` // when it was acknowledged
	Found  string    `json:"found"`
}

func (l Loss) String() string {
	return fmt.Sprintf("write %d, acknowledged at %s, is not on %s: %s is %s",
		l.Number, l.At.Format("15:04:05.000"), l.Member, l.Key, l.Found)
}

// Report is the result of a verification.
type Report struct {
	Tally
	Members []string `json:"members"`
	Keys    int      `json:"keys"`
	// Lost is the number of acknowledged writes that at least one member does not hold.
	Lost int64 `json:"lost"`
	// Phantoms is the number of keys that on at least one member hold a failed write or something that nobody wrote.
	Phantoms int64 `json:"phantoms"`
	// First lists the first lost writes and phantoms, oldest first.
	First []Loss `json:"first,omitempty"`
}

// OK reports whether every member holds every acknowledged write and nothing that it must not hold.
func (r Report) OK() bool { return r.Lost == 0 && r.Phantoms == 0 }

func (r Report) String() string {
	s := fmt.Sprintf("acknowledged %d, lost %d", r.Acknowledged, r.Lost)
	if r.Phantoms > 0 {
		s += fmt.Sprintf(", %d keys hold what they must not", r.Phantoms)
	}
	return s
}

const (
	firstLosses = 20  // reported individually
	readBatch   = 500 // keys read in one pipeline
)

// Verify waits until every member has everything that the leader has, then compares every key that was ever written on every
// member. Call it after Stop. A member that cannot be read, or does not catch up before ctx ends, is an error, never a success.
func (w *Writer) Verify(ctx context.Context, members []Member) (Report, error) {
	if len(members) == 0 {
		return Report{}, errors.New("verify: no members given")
	}
	if err := catchUp(ctx, members, w.opt); err != nil {
		return Report{}, err
	}
	w.journal.mu.Lock()
	defer w.journal.mu.Unlock()
	r := Report{Tally: w.journal.tally, Keys: len(w.journal.keys)}
	lost := map[uint64]bool{}
	phantoms := map[string]bool{}
	for _, m := range members {
		r.Members = append(r.Members, m.Name)
		err := readAll(ctx, m, w.opt, w.journal.keys, func(h *history, held string, ok bool) {
			f := h.judge(w.journal.writer, held, ok)
			found := "absent"
			if ok {
				found = fmt.Sprintf("%q", held)
			}
			for _, a := range f.lost {
				lost[a.number] = true
				r.First = append(r.First, Loss{Member: m.Name, Number: a.number, Key: h.name, At: a.at, Found: found})
			}
			if f.phantom {
				phantoms[h.name] = true
				r.First = append(r.First, Loss{Member: m.Name, Key: h.name, Found: found})
			}
		})
		if err != nil {
			return Report{}, err
		}
	}
	slices.SortStableFunc(r.First, func(a, b Loss) int { return cmp.Compare(a.Number, b.Number) })
	r.First = r.First[:min(len(r.First), firstLosses)]
	r.Lost, r.Phantoms = int64(len(lost)), int64(len(phantoms))
	return r, nil
}

// readAll reads every key from one member and passes it to each.
func readAll(ctx context.Context, m Member, opt Options, keys []*history, each func(h *history, held string, ok bool)) error {
	c := opt.client(m.Address, 10*time.Second)
	defer c.Close()
	for batch := range slices.Chunk(keys, readBatch) {
		replies := make([]*redis.StringCmd, len(batch))
		_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, h := range batch {
				replies[i] = p.Get(ctx, h.name)
			}
			return nil
		})
		if err != nil && !errors.Is(err, redis.Nil) {
			return fmt.Errorf("read %d keys on %s: %w", len(batch), m.Name, err)
		}
		for i, h := range batch {
			held, err := replies[i].Result()
			if err != nil && !errors.Is(err, redis.Nil) {
				return fmt.Errorf("read %s on %s: %w", h.name, m.Name, err)
			}
			each(h, held, err == nil)
		}
	}
	return nil
}
