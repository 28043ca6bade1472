package meta

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestWhoseOrders: a directory remembers to which store its last promise was made. A volume that outlives its store names
// that store until the next store's first order.
func TestWhoseOrders(t *testing.T) {
	fs := vfs.NewMem()
	open := func(uid string) *Store {
		t.Helper()
		o := options()
		o.StoreUID = uid
		s, err := Open(fs, "d", o)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	whose := func(s *Store, want string) {
		t.Helper()
		if got := s.State().StoreUID; got != want {
			t.Fatalf("the directory is of %q, want %q", got, want)
		}
	}
	s := open("first")
	whose(s, "")
	if err := s.Update(promise(3)); err != nil {
		t.Fatal(err)
	}
	whose(s, "") // not an order
	p := s.State().Promises
	p.Promised = 4
	if err := s.Save(p); err != nil {
		t.Fatal(err)
	}
	whose(s, "first")
	closeStore(t, s)
	s = open("second")
	whose(s, "first")
	if err := s.Save(s.State().Promises); err != nil {
		t.Fatal(err)
	}
	whose(s, "second")
	closeStore(t, s)
	s = open("")
	whose(s, "second")
	if err := s.Save(s.State().Promises); err != nil {
		t.Fatal(err)
	}
	whose(s, "second")
	closeStore(t, s)
}
