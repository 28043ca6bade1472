package admin

import (
	"net/http"
	"strings"
	"testing"

	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// TestRequestForSomebodyElse: an address outlives the pod that had it, and two stores may have the same name. A request
// meant for another member or store changes nothing here.
func TestRequestForSomebodyElse(t *testing.T) {
	for name, tc := range map[string]struct {
		uid, member string
		code        int
	}{
		"this member":                       {"u-1", "orders-1", http.StatusOK},
		"nobody said for whom":              {"", "", http.StatusOK},
		"another member":                    {"u-1", "orders-2", http.StatusMisdirectedRequest},
		"the member of another namespace's": {"u-2", "orders-1", http.StatusMisdirectedRequest},
	} {
		t.Run(name, func(t *testing.T) {
			node := newScript()
			url, _ := serve(t, node, Options{StoreUID: "u-1", Member: "orders-1"})
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+wire.PathFence, strings.NewReader(`{"epoch": 7}`))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set(wire.HeaderStoreUID, tc.uid)
			r.Header.Set(wire.HeaderMember, tc.member)
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if res.StatusCode != tc.code || len(node.orders) != map[int]int{http.StatusOK: 1}[tc.code] {
				t.Fatalf("status %d, orders %v", res.StatusCode, node.orders)
			}
		})
	}
}
