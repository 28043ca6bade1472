package role

import "testing"

// a acknowledged more than b, and b more than c. b led, and a, which had to cut what b lacked, waits for b's snapshot.
// Then b is lost too. What c lacks of a's remaining log is also kept, before c's snapshot replaces it.
func TestWhoWaitsForASnapshotKeepsWhatALaterLeaderLacks(t *testing.T) {
	slow := func(o *Options) { o.SeedRate = 1 << 10 }
	c := newCluster(t)
	c.start("a")
	c.start("b", slow)
	c.start("c")
	c.lead("a", "b", "c")
	c.fill("all", 32)
	c.agrees("b")
	c.agrees("c")
	common := c.lastOf("c")
	c.members["c"].end()
	c.fill("ab", 4)
	c.agrees("b")
	c.members["b"].end()
	c.fill("a", 4)
	last := c.lastOf("a")
	c.depose()
	c.start("b", slow)
	c.lead("b", "a")
	until(t, "a is being seeded", func() bool { s := c.status("a"); return s.NeedSeed && s.Quarantined > 0 && s.Seeding != nil })
	c.members["b"].end()
	c.start("c")
	c.lead("c", "a")
	c.agrees("a")
	if s := c.status("a"); s.Quarantined != uint64(last-common) {
		t.Errorf("%d of the %d writes that c lacks are in no file", uint64(last-common)-s.Quarantined, last-common)
	}
}
