package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/node/store"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/durable"
	"github.com/replicatedstore/replicatedstore/replication/wal"
)

const quarantineUsage = `usage: node quarantine list   --data DIR
       node quarantine export --data DIR [--file NAME] [--format jsonl|redis]
       node quarantine remove --data DIR --file NAME | --all

Shows, exports or removes quarantined writes: those cut from a member's log when it rejoined a history without them. All
commands work while the member runs. Without --file, export writes all files, oldest cut position first. Remove deletes what is no
longer needed; the member and its store stop reporting it within a minute.
`

// quarantine lists, exports or removes the cut writes that a member's data directory keeps.
func quarantine(args []string, out io.Writer) error {
	if len(args) == 0 || !slices.Contains([]string{"list", "export", "remove"}, args[0]) {
		if len(args) > 0 && (args[0] == "-h" || args[0] == "--help") {
			_, err := io.WriteString(out, quarantineUsage)
			return err
		}
		return fmt.Errorf("quarantine: use list, export or remove\n%s", quarantineUsage)
	}
	f := flag.NewFlagSet("node quarantine "+args[0], flag.ContinueOnError)
	data := f.String("data", os.Getenv("RSTORE_DATA"), "the member's data `directory`, or RSTORE_DATA (required)")
	var name, format string
	var all bool
	switch args[0] {
	case "export":
		f.StringVar(&name, "file", "", "export only the file of this `name`, as list shows it")
		f.StringVar(&format, "format", "jsonl", "`jsonl`: one JSON object for each effect; redis: commands for redis-cli --pipe")
	case "remove":
		f.StringVar(&name, "file", "", "remove the file of this `name`, as list shows it")
		f.BoolVar(&all, "all", false, "remove every file that list shows")
	}
	if err := f.Parse(args[1:]); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("quarantine %s: unexpected argument %q", args[0], f.Arg(0))
	}
	dir, err := quarantineDir(*data)
	if err != nil {
		return fmt.Errorf("quarantine %s: %w", args[0], err)
	}
	// These show what can be read before they return the error that names what cannot.
	switch args[0] {
	case "list":
		err = listQuarantine(out, dir)
	case "export":
		err = exportQuarantine(out, dir, name, format)
	default:
		err = removeQuarantine(out, dir, name, all)
	}
	if err != nil {
		return fmt.Errorf("quarantine %s: %w", args[0], err)
	}
	return nil
}

// quarantineDir checks that data is a member's data directory and returns its quarantine directory, which need not exist.
func quarantineDir(data string) (string, error) {
	if data == "" {
		return "", errors.New("--data: name the member's data directory")
	}
	if _, err := os.Stat(filepath.Join(data, "META")); errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("--data: %s is not a member's data directory: it holds no META", data)
	} else if err != nil {
		return "", fmt.Errorf("--data: %w", err)
	}
	return filepath.Join(data, "quarantine"), nil
}

func listQuarantine(out io.Writer, dir string) error {
	files, err := wal.ListQuarantine(vfs.Default, dir)
	torn, tornErr := filepath.Glob(filepath.Join(dir, "torn-*.bin"))
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FILE\tEPOCH\tPOSITIONS\tENTRIES\tBYTES\tTIME\tREASON")
	for _, q := range files {
		fmt.Fprintf(w, "%s\t%d\t%d-%d\t%d\t%d\t%s\t%s\n", filepath.Base(q.Path), q.Last.Epoch, q.Base.Position+1, q.Last.Position,
			q.Entries(), q.Bytes, q.Time.UTC().Format(time.RFC3339), q.Reason)
	}
	for _, path := range torn {
		// A file that is gone was the oldest of too many copies: the member has removed it in the meantime.
		if info, statErr := os.Stat(path); statErr == nil {
			fmt.Fprintf(w, "%s\t-\t-\t-\t%d\t%s\t%s\n", filepath.Base(path), info.Size(), info.ModTime().UTC().Format(time.RFC3339),
				"torn by a crash before it was synced: raw bytes, never acknowledged, not exportable")
		}
	}
	return errors.Join(err, tornErr, w.Flush())
}

// removeQuarantine removes the file called name, or all files that exist now, and prints the names of those it removed.
func removeQuarantine(out io.Writer, dir, name string, all bool) error {
	var names []string
	switch {
	case all == (name != ""):
		return errors.New("use either --file NAME or --all")
	case name != "" && (filepath.Base(name) != name || !isQuarantined(name)):
		return fmt.Errorf("--file: %q is not the name of a file that `node quarantine list` shows", name)
	case name != "":
		names = []string{name}
	default:
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		for _, e := range entries {
			if isQuarantined(e.Name()) {
				names = append(names, e.Name())
			}
		}
	}
	for _, name := range names {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			return err
		}
		fmt.Fprintln(out, "removed", name)
	}
	if len(names) == 0 {
		return nil
	}
	return durable.SyncDir(vfs.Default, dir)
}

// isQuarantined reports whether name is a file of cut writes or a torn tail, as opposed to a file that is still being written.
func isQuarantined(name string) bool {
	torn, _ := filepath.Match("torn-*.bin", name) // the pattern is well-formed
	return torn || filepath.Ext(name) == ".log"
}

func exportQuarantine(out io.Writer, dir, name, format string) error {
	w := bufio.NewWriterSize(out, 1<<20)
	var write func(cut) error
	switch format {
	case "jsonl":
		write = jsonWriter(w)
	case "redis":
		write = func(c cut) error { return writeCommand(w, c) }
	default:
		return fmt.Errorf("--format: %q is neither jsonl nor redis", format)
	}
	paths, err := exported(dir, name)
	for _, path := range paths {
		// A damaged file does not keep the others from being exported.
		err = errors.Join(err, exportFile(path, write))
	}
	return errors.Join(err, w.Flush())
}

// exported returns the paths of the files to export. The error names the files that cannot be exported; there may be both.
func exported(dir, name string) (paths []string, _ error) {
	if name != "" {
		if filepath.Base(name) != name || filepath.Ext(name) != ".log" {
			return nil, fmt.Errorf("--file: %q is not the name of a file of cut writes, as `node quarantine list` shows it", name)
		}
		return []string{filepath.Join(dir, name)}, nil
	}
	files, err := wal.ListQuarantine(vfs.Default, dir)
	for _, q := range files {
		paths = append(paths, q.Path)
	}
	return paths, err
}

func exportFile(path string, write func(cut) error) (err error) {
	r, err := wal.OpenQuarantine(vfs.Default, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := exportRecord(filepath.Base(path), &rec, write); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
}

func exportRecord(file string, rec *replication.Record, write func(cut) error) error {
	c := cut{file: file, epoch: rec.Epoch, position: rec.First, unixMilli: rec.UnixMilli}
	if rec.Type == replication.RecordBarrier {
		c.effect.Op = "barrier"
		return write(c)
	}
	for i, entry := range rec.Entries() {
		c.position = rec.First + replication.Position(i)
		for effect, err := range store.Effects(entry) {
			if err != nil {
				return fmt.Errorf("position %d of epoch %d: %w; use the version of this program that wrote it", c.position, c.epoch, err)
			}
			c.effect = effect
			if err := write(c); err != nil {
				return fmt.Errorf("write the export: %w", err)
			}
		}
	}
	return nil
}
