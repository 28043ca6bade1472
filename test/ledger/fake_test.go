package ledger

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// fake is an in-memory store behind a real socket. It speaks just enough of the protocol, and misbehaves on demand.
type fake struct {
	listener net.Listener

	mu    sync.Mutex
	data  map[string]string
	conns map[net.Conn]bool
	role  string // raw reply to ROLE
	asked int    // how often it was asked for it
	// on is called before a write and returns what to do instead of it; nil means to behave.
	on func(command, key string) misdeed
}

// misdeed is what a fake does to one write.
type misdeed uint8

const (
	behave      misdeed = iota
	forget              // acknowledge without doing it
	doTwice             // do it twice
	refuse              // READONLY, not done
	refuseAndDo         // READONLY, but done all the same
	cutBefore           // drop the connection, not done
	cutAfter            // do it, then drop the connection
)

func newFake(t *testing.T) *fake {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{listener: l, data: map[string]string{}, conns: map[net.Conn]bool{}, role: leaderRole(0)}
	t.Cleanup(func() { l.Close(); f.cutAll() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns[c] = true
			f.mu.Unlock()
			go f.serve(c)
		}
	}()
	return f
}

func leaderRole(offset int) string {
	return fmt.Sprintf("*3\r\n$6\r\nmaster\r\n:%d\r\n*0\r\n", offset)
}

func followerRole(link string, offset int) string {
	return fmt.Sprintf("*5\r\n$5\r\nslave\r\n$1\r\nx\r\n:1\r\n$%d\r\n%s\r\n:%d\r\n", len(link), link, offset)
}

func (f *fake) address() string { return f.listener.Addr().String() }

// roles returns how often f was asked for its role.
func (f *fake) roles() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked
}

func (f *fake) cutAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		c.Close()
	}
	clear(f.conns)
}

// copy returns another member that holds the same data and follows.
func (f *fake) copy(t *testing.T) *fake {
	g := newFake(t)
	f.mu.Lock()
	defer f.mu.Unlock()
	g.data = maps.Clone(f.data)
	g.role = followerRole("connected", 0)
	return g
}

func (f *fake) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	for {
		args, err := readCommand(in)
		if err != nil {
			return
		}
		reply, cut := f.do(args)
		if cut {
			return
		}
		if _, err := io.WriteString(c, reply); err != nil {
			return
		}
	}
}

func readCommand(in *bufio.Reader) ([]string, error) {
	number := func(mark string) (int, error) {
		line, err := in.ReadString('\n')
		if err != nil {
			return 0, err
		}
		return strconv.Atoi(strings.TrimPrefix(strings.TrimSpace(line), mark))
	}
	n, err := number("*")
	if err != nil {
		return nil, err
	}
	args := make([]string, n)
	for i := range args {
		size, err := number("$")
		if err != nil {
			return nil, err
		}
		b := make([]byte, size+2)
		if _, err := io.ReadFull(in, b); err != nil {
			return nil, err
		}
		args[i] = string(b[:size])
	}
	return args, nil
}

func (f *fake) do(args []string) (reply string, cut bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch name := strings.ToLower(args[0]); name {
	case "ping":
		return "+PONG\r\n", false
	case "role":
		f.asked++
		return f.role, false
	case "get":
		if v, ok := f.data[args[1]]; ok {
			return fmt.Sprintf("$%d\r\n%s\r\n", len(v), v), false
		}
		return "$-1\r\n", false
	case "set", "incr":
		return f.write(name, args)
	default:
		return "-ERR unknown command\r\n", false
	}
}

func (f *fake) write(name string, args []string) (reply string, cut bool) {
	m := behave
	if f.on != nil {
		m = f.on(name, args[1])
	}
	times := map[misdeed]int{behave: 1, doTwice: 2, refuseAndDo: 1, cutAfter: 1}[m]
	n, _ := strconv.Atoi(f.data[args[1]])
	for range times {
		if n++; name == "set" {
			f.data[args[1]] = args[2]
		} else {
			f.data[args[1]] = strconv.Itoa(n)
		}
	}
	switch {
	case m == refuse || m == refuseAndDo:
		return "-READONLY You can't write against a read only replica.\r\n", false
	case m == cutBefore || m == cutAfter:
		return "", true
	case name == "set":
		return "+OK\r\n", false
	case m == forget:
		return fmt.Sprintf(":%d\r\n", n+1), false
	default:
		return fmt.Sprintf(":%d\r\n", n), false
	}
}
