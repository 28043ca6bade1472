package decide

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/replicatedstore/replicatedstore/replication"
)

// FuzzDecodeRecord decodes an annotation that anybody with access to the Lease may have edited: a record that passes can be
// encoded again, and then means the same.
func FuzzDecodeRecord(f *testing.F) {
	at := metav1.NewMicroTime(time.Unix(1700000000, 123000))
	one, two := replication.Voter{Member: "orders-1", Incarnation: "b"}, replication.Voter{Member: "orders-2", Incarnation: "c"}
	stable := Record{
		Epoch: 3, Phase: PhaseStable, Leader: replication.Voter{Member: "orders-0", Incarnation: "a"}, ConfigVersion: 4,
		Rules: []replication.Rule{{Voters: []replication.Voter{one}, K: 1}, {Voters: []replication.Voter{one, two}, K: 1}},
		Start: replication.Mark{Epoch: 2, Position: 9, Chain: 8}, Change: Change{Reason: "first", Since: Times{Detected: &at}},
	}
	f.Add(stable.Encode())
	f.Add(stable.fencing(4, Change{From: "orders-0", FromEpoch: 3}).Encode())
	f.Add(stable.fencing(4, Change{}).promoting(one, stable.Start, replication.Rule{K: 0}).Encode())
	f.Add(`{"epoch":1,"phase":"Fencing","everyMember":["orders-0"]}`)
	f.Fuzz(func(t *testing.T, annotation string) {
		first, err := DecodeRecord(annotation)
		if err != nil {
			return
		}
		text := first.Encode()
		second, err := DecodeRecord(text)
		if err != nil {
			t.Fatalf("%+v was written as %s: %v", *first, text, err)
		}
		if again := second.Encode(); again != text {
			t.Fatalf("%s became %s", text, again)
		}
		// What decisions use must not panic on any record that passes.
		_, _, _ = first.Leaderships(), first.LedEpoch(), first.fencing(first.Epoch+1, Change{})
		if rule, ok := first.Rule(); ok {
			for _, v := range rule.Voters {
				first.Voter(v.Member)
			}
		}
	})
}
