package machine

import (
	"errors"
	"os"
	"slices"
	"testing"
	"time"
)

// bench is a supervisor that starts no real services; it records which it would start, in order.
type bench struct {
	*supervisor
	started []string
	files   map[string]bool
	now     time.Time
	fail    error
}

func newBench(services ...Service) *bench {
	b := &bench{files: map[string]bool{}, now: time.Unix(1000, 0)}
	b.supervisor = newSupervisor(Plan{Services: services})
	b.supervisor.exists = func(path string) bool { return b.files[path] }
	b.supervisor.start = func(s Service) (int, error) {
		b.started = append(b.started, s.Name)
		return len(b.started), b.fail // the n-th start gets PID n
	}
	return b
}

func (b *bench) expect(t *testing.T, pending bool, started ...string) {
	t.Helper()
	if got := b.advance(b.now); got != pending {
		t.Errorf("pending = %v, want %v", got, pending)
	}
	if !slices.Equal(b.started, started) {
		t.Fatalf("started %v, want %v", b.started, started)
	}
}

func TestServicesWaitForTheirFiles(t *testing.T) {
	b := newBench(Service{Name: "a", WaitFor: []string{"x", "y"}}, Service{Name: "b"})
	b.expect(t, true, "b")
	b.files["x"] = true
	b.expect(t, true, "b")
	b.files["y"] = true
	b.expect(t, false, "b", "a")
	b.expect(t, false, "b", "a")
}

func TestOnceHoldsBackLaterServicesUntilItSucceeds(t *testing.T) {
	b := newBench(Service{Name: "first"}, Service{Name: "import", Once: true}, Service{Name: "kubelet"})
	b.expect(t, false, "first", "import")
	b.exited(2, false, "exit status 1", b.now)
	b.expect(t, true, "first", "import")
	b.now = b.now.Add(restartDelay)
	b.expect(t, false, "first", "import", "import")
	b.exited(3, true, "exit status 0", b.now)
	b.expect(t, false, "first", "import", "import", "kubelet")
}

func TestEndedServiceRestartsAfterADelay(t *testing.T) {
	b := newBench(Service{Name: "a"})
	b.expect(t, false, "a")
	b.exited(77, false, "an orphan", b.now)
	b.expect(t, false, "a")
	b.exited(1, true, "exit status 0", b.now) // also after success: the service is meant to run
	b.now = b.now.Add(restartDelay - 1)
	b.expect(t, true, "a")
	b.now = b.now.Add(1)
	b.expect(t, false, "a", "a")
	if s := b.services[0]; s.restarts != 1 || s.pid != 2 || s.phase != running {
		t.Errorf("service = %+v", s)
	}
}

func TestFailedStartIsRetried(t *testing.T) {
	b := newBench(Service{Name: "a"})
	b.fail = errors.New("no such file")
	b.expect(t, true, "a")
	b.fail = nil
	b.now = b.now.Add(restartDelay)
	b.expect(t, false, "a", "a")
}

func TestRecordNamesOneProcess(t *testing.T) {
	r, err := self()
	if err != nil {
		t.Fatal(err)
	}
	if r.Pid != os.Getpid() || !r.Alive() {
		t.Fatalf("record %+v of process %d, alive %v", r, os.Getpid(), r.Alive())
	}
	for name, other := range map[string]Record{
		"another start": {Pid: r.Pid, Start: r.Start + 1, Boot: r.Boot},
		"another boot":  {Pid: r.Pid, Start: r.Start, Boot: "before"},
	} {
		if other.Alive() {
			t.Errorf("%s: taken for this process", name)
		}
		if err := other.Kill(time.Second); err != nil { // must not kill this process
			t.Errorf("%s: kill: %v", name, err)
		}
	}
}

func TestPlanAndServicesAreStored(t *testing.T) {
	p := Plan{Name: "n1", Dir: t.TempDir(), Services: []Service{{Name: "a", Argv: []string{"/bin/a"}, Once: true}}}
	if err := p.Save(); err != nil {
		t.Fatal(err)
	}
	got, err := LoadPlan(p.Dir)
	if err != nil || got.Name != "n1" || len(got.Services) != 1 || !got.Services[0].Once {
		t.Fatalf("plan = %+v, %v", got, err)
	}
	if states, err := Services(p.Dir); err != nil || states != nil {
		t.Fatalf("services before a start = %v, %v", states, err)
	}
	if _, found, err := LoadRecord(p.Dir); err != nil || found {
		t.Fatalf("record before a start: %v, %v", found, err)
	}
	s := newSupervisor(p)
	if err := s.publish(); err != nil {
		t.Fatal(err)
	}
	states, err := Services(p.Dir)
	if want := []ServiceState{{Name: "a", Phase: "waiting"}}; err != nil || !slices.Equal(states, want) {
		t.Fatalf("services = %v, %v", states, err)
	}
}
