// Package machine runs a "machine" of the cluster: a process tree in its own network, PID, mount, host-name and IPC namespaces,
// under an init that starts and restarts the machine's services. When init is killed, the kernel kills every process in the tree
// and drops its mounts, interfaces and rules. This is what "the machine is lost" means here, and it works whatever state the
// harness itself is in.
package machine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Plan is what init does on a machine. It is stored in the machine's directory before the machine starts.
type Plan struct {
	Name       string            `json:"name"`
	Dir        string            `json:"dir"`        // this machine's state on the host's disk
	CgroupJoin string            `json:"cgroupJoin"` // file that init writes itself to
	Binds      []Bind            `json:"binds"`      // in order
	ResolvConf string            `json:"resolvConf"` // content of /etc/resolv.conf
	Sysctls    map[string]string `json:"sysctls"`
	Services   []Service         `json:"services"` // in start order
}

// Bind mounts directory Source at Target inside the machine. Both are created if missing.
type Bind struct {
	Source string `json:"source"`
	Target string `json:"target"` // below /var/lib, /var/log or /run, which belong to the machine
}

// Service is one process that init keeps running.
type Service struct {
	Name    string   `json:"name"`
	Argv    []string `json:"argv"`
	WaitFor []string `json:"waitFor,omitempty"` // files that must exist before the start
	Once    bool     `json:"once,omitempty"`    // runs to success before any later service starts
	Inherit bool     `json:"inherit,omitempty"` // gets the machine's listener as file descriptor 3
}

const (
	planFile     = "plan.json"
	recordFile   = "init.json"
	servicesFile = "services.json"
)

// Save stores the plan in its directory, and creates the directory.
func (p Plan) Save() error {
	if err := os.MkdirAll(p.LogDir(), 0o755); err != nil {
		return fmt.Errorf("create machine directory: %w", err)
	}
	return writeJSON(filepath.Join(p.Dir, planFile), p)
}

// LogDir holds one log file for init and for each service.
func (p Plan) LogDir() string { return filepath.Join(p.Dir, "log") }

// LoadPlan reads the plan stored in dir.
func LoadPlan(dir string) (Plan, error) {
	var p Plan
	if err := readJSON(filepath.Join(dir, planFile), &p); err != nil {
		return Plan{}, fmt.Errorf("load machine plan: %w", err)
	}
	return p, nil
}

// ServiceState is the last known state of one service.
type ServiceState struct {
	Name     string `json:"name"`
	Phase    string `json:"phase"`
	Pid      int    `json:"pid"` // in the machine's own PID namespace; 0 if not running
	Restarts int    `json:"restarts"`
}

// Services reads what init last wrote to dir about its services. It returns none if init never started one.
func Services(dir string) ([]ServiceState, error) {
	var states []ServiceState
	err := readJSON(filepath.Join(dir, servicesFile), &states)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return states, err
}

func readJSON(path string, into any) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(content, into); err != nil {
		return fmt.Errorf("parse %s: %w", path, err)
	}
	return nil
}

// writeJSON replaces path atomically, so that a reader sees either the old or the new content.
func writeJSON(path string, value any) error {
	content, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, append(content, '\n'), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("publish %s: %w", path, err)
	}
	return nil
}
