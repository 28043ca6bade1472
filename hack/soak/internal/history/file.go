package history

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// Head is the first line of a history file.
type Head struct {
	Run  string    `json:"run"`
	Zero time.Time `json:"zero"` // the wall clock at time 0 of Call and Return
}

// line is one line of the file; exactly one pointer is set.
type line struct {
	Head *Head `json:"head,omitempty"`
	Op   *Op   `json:"op,omitempty"`
	View *View `json:"view,omitempty"`
}

// Writer writes a history as compressed JSON lines. It is safe for concurrent use. The first error is final, and Close returns it:
// a history with a hole must not be judged.
type Writer struct {
	mu     sync.Mutex
	file   *os.File
	packed *gzip.Writer
	lines  *json.Encoder
	err    error
}

// Create creates the file, which must not exist.
func Create(path string, h Head) (*Writer, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("create the history: %w", err)
	}
	w := &Writer{file: f, packed: gzip.NewWriter(f)}
	w.lines = json.NewEncoder(w.packed)
	w.put(line{Head: &h})
	return w, nil
}

// Op adds an operation once its outcome is known, or known to stay unknown.
func (w *Writer) Op(o Op) { w.put(line{Op: &o}) }

// View adds what a connection to a member read.
func (w *Writer) View(v View) { w.put(line{View: &v}) }

func (w *Writer) put(l line) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = w.lines.Encode(l)
	}
}

// Close completes the file.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := errors.Join(w.err, w.packed.Close(), w.file.Close()); err != nil {
		w.err = err
		return fmt.Errorf("write the history: %w", err)
	}
	w.err = os.ErrClosed
	return nil
}

// History is a complete history, as read back.
type History struct {
	Head  Head
	Ops   []Op
	Views []View
}

// Load reads a file that Close completed. A truncated file is an error.
func Load(path string) (*History, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the history: %w", err)
	}
	defer f.Close()
	packed, err := gzip.NewReader(bufio.NewReader(f))
	if err != nil {
		return nil, fmt.Errorf("read the history: %w", err)
	}
	h := &History{}
	for lines := json.NewDecoder(packed); ; {
		var l line
		switch err := lines.Decode(&l); {
		case errors.Is(err, io.EOF):
			return h, nil
		case err != nil:
			return nil, fmt.Errorf("read the history after %d operations: %w", len(h.Ops), err)
		case l.Op != nil:
			h.Ops = append(h.Ops, *l.Op)
		case l.View != nil:
			h.Views = append(h.Views, *l.View)
		case l.Head != nil:
			h.Head = *l.Head
		}
	}
}
