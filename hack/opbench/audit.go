package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// audit reads the API server's audit log of the operator's requests.
type audit struct {
	path string
	from int64
}

// entry holds the fields of interest of an audit entry.
type entry struct {
	Stage     string `json:"stage"`
	Verb      string `json:"verb"`
	URI       string `json:"requestURI"`
	ObjectRef struct {
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
		Namespace   string `json:"namespace"`
	} `json:"objectRef"`
}

// kind names a request by verb and resource. It keeps the operators' own election apart.
func (e entry) kind() string {
	what := e.ObjectRef.Resource
	switch {
	case what == "":
		what, _, _ = strings.Cut(e.URI, "?") // discovery
	case what == "leases" && e.ObjectRef.Namespace == operatorIn:
		what = election
	case e.ObjectRef.Subresource != "":
		what += "/" + e.ObjectRef.Subresource
	}
	return e.Verb + " " + what
}

const election = "the operators' election"

// take counts the requests since the previous call. A watch counts when it begins.
func (a *audit) take() (map[string]int, error) {
	f, err := os.Open(a.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := f.Seek(a.from, io.SeekStart); err != nil {
		return nil, err
	}
	counts := map[string]int{}
	for lines := bufio.NewReader(f); ; {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return counts, nil // an incomplete line is left for the next call
		}
		if err != nil {
			return nil, err
		}
		a.from += int64(len(line))
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("read the audit log: %w", err)
		}
		if (e.Verb == "watch") == (e.Stage == "ResponseStarted") {
			counts[e.kind()]++
		}
	}
}
