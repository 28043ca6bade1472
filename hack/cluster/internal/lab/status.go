package lab

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/replicatedstore/replicatedstore/hack/cluster/internal/fabric"
	"github.com/replicatedstore/replicatedstore/hack/cluster/internal/machine"
)

// Status describes the cluster for people.
func (l *Lab) Status(ctx context.Context, out io.Writer) error {
	s, err := l.running()
	if err != nil {
		return err
	}
	ready, apiErr := map[string]bool{}, error(nil)
	if api, err := l.connect(); err == nil {
		ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
		ready, apiErr = api.readyNodes(ctx)
		cancel()
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "MACHINE\tADDRESS\tSTATE\tNODE\tSERVICES")
	for _, port := range append([]fabric.Port{{Name: switchName, Address: fabric.Gateway}}, s.ports()...) {
		state := "off"
		if _, err := l.record(port.Name); err == nil {
			state = "on"
		}
		node := "-"
		if port.Pods.IsValid() {
			node = nodeState(ready, apiErr, port.Name)
		}
		services, err := l.services(port.Name, state)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", port.Name, port.Address, state, node, services)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print status: %w", err)
	}
	cuts, err := l.cuts()
	if err != nil {
		return err
	}
	for _, c := range cuts {
		fmt.Fprintf(out, "cut: nothing goes from %s to %s\n", c.From, c.To)
	}
	if apiErr != nil {
		fmt.Fprintf(out, "API server: %v\n", apiErr)
	}
	fmt.Fprintf(out, "export KUBECONFIG=%s\n", l.Kubeconfig())
	return nil
}

func nodeState(ready map[string]bool, apiErr error, name string) string {
	switch r, known := ready[name]; {
	case apiErr != nil:
		return "unknown"
	case !known:
		return "unregistered"
	case r:
		return "ready"
	default:
		return "not ready"
	}
}

// services summarizes what init reports about a machine's services.
func (l *Lab) services(name, state string) (string, error) {
	if state == "off" {
		return "-", nil
	}
	states, err := machine.Services(l.machineDir(name))
	if err != nil {
		return "", err
	}
	var parts []string
	for _, s := range states {
		if s.Phase == "done" {
			continue
		}
		part := s.Name
		if s.Phase != "running" {
			part += "(" + s.Phase + ")"
		}
		if s.Restarts > 0 {
			part += fmt.Sprintf("[%d restarts]", s.Restarts)
		}
		parts = append(parts, part)
	}
	if len(parts) == 0 {
		return "-", nil
	}
	return strings.Join(parts, " "), nil
}

// Machine returns the init of a running machine, for entering it.
func (l *Lab) Machine(name string) (machine.Record, error) {
	if name != switchName {
		s, found, err := l.loadSpec()
		if err != nil {
			return machine.Record{}, err
		}
		if !found {
			return machine.Record{}, fmt.Errorf("no cluster runs in %s", l.dir)
		}
		if _, err := s.port(name); err != nil {
			return machine.Record{}, err
		}
	}
	return l.record(name)
}
