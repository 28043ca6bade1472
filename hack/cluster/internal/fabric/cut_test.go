package fabric

import (
	"io"
	"net"
	"slices"
	"strings"
	"testing"
)

func TestCutAndHeal(t *testing.T) {
	type step func(Cuts) (Cuts, error)
	cut := func(m, p string, d Direction) step { return func(c Cuts) (Cuts, error) { return c.Cut(m, p, d) } }
	heal := func(m, p string) step { return func(c Cuts) (Cuts, error) { return c.Heal(m, p), nil } }
	tests := map[string]struct {
		steps []step
		want  Cuts
	}{
		"both directions":                      {[]step{cut("n1", "n2", Both)}, Cuts{{"n1", "n2"}, {"n2", "n1"}}},
		"in is what the machine would receive": {[]step{cut("n1", "api", In)}, Cuts{{"api", "n1"}}},
		"out is what it sends":                 {[]step{cut("n1", "api", Out)}, Cuts{{"n1", "api"}}},
		"cuts add up, once each": {
			[]step{cut("n1", "n2", Out), cut("n2", "n1", In), cut("n1", All, In)}, Cuts{{All, "n1"}, {"n1", "n2"}},
		},
		"heal a machine ends every cut it is part of": {
			[]step{cut("n1", "n2", Both), cut("n3", "n1", Out), cut("n2", "n3", Out), heal("n1", "")}, Cuts{{"n2", "n3"}},
		},
		"heal from one leaves the others": {
			[]step{cut("n1", "n2", Both), cut("n1", "n3", Out), heal("n1", "n2")}, Cuts{{"n1", "n3"}},
		},
		"heal from all leaves single cuts": {
			[]step{cut("n1", All, Both), cut("n1", "n3", Out), heal("n1", All)}, Cuts{{"n1", "n3"}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var c Cuts
			for i, s := range tt.steps {
				var err error
				if c, err = s(c); err != nil {
					t.Fatalf("step %d: %v", i, err)
				}
			}
			if !slices.Equal(c, tt.want) {
				t.Fatalf("cuts = %v, want %v", c, tt.want)
			}
		})
	}
}

func TestCutRefuses(t *testing.T) {
	if _, err := (Cuts{}).Cut("n1", "n1", Both); err == nil {
		t.Error("cut a machine from itself")
	}
	if _, err := (Cuts{}).Cut("n1", "n2", "sideways"); err == nil {
		t.Error("cut in a direction that does not exist")
	}
}

func TestRuleset(t *testing.T) {
	got := Cuts{{All, "n1"}, {"n1", "n2"}, {"n2", All}}.Ruleset()
	for _, rule := range []string{
		"\t\toifname \"p-n1\" drop\n", "\t\tiifname \"p-n1\" oifname \"p-n2\" drop\n", "\t\tiifname \"p-n2\" drop\n",
	} {
		if !strings.Contains(got, rule) {
			t.Errorf("no rule %q in\n%s", rule, got)
		}
	}
	if none := (Cuts{}).Ruleset(); strings.Contains(none, " drop") {
		t.Errorf("no cut drops something:\n%s", none)
	}
}

// TestForward checks that data passes through, that each direction ends on its own, and that a dead target closes the caller's
// connection.
func TestForward(t *testing.T) {
	target, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	front, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	forwarded := make(chan error, 1)
	go func() { forwarded <- Forward(front, target.Addr().String()) }()
	go func() {
		conn, err := target.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		request, _ := io.ReadAll(conn) // ends only if the caller's end of stream is passed on
		conn.Write(append([]byte("answer to "), request...))
	}()
	ask := func() string {
		conn, err := net.Dial("tcp4", front.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.Write([]byte("question"))
		conn.(*net.TCPConn).CloseWrite()
		answer, _ := io.ReadAll(conn)
		return string(answer)
	}
	if got := ask(); got != "answer to question" {
		t.Errorf("got %q", got)
	}
	target.Close()
	if got := ask(); got != "" {
		t.Errorf("without a target got %q", got)
	}
	front.Close()
	if err := <-forwarded; err == nil {
		t.Error("forwarding went on without a listener")
	}
}
