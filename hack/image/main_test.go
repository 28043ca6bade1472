package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// The command in the guide also builds an image for another architecture.
func TestMakePassesTheArchitectureOn(t *testing.T) {
	for arg, want := range map[string]string{"IMAGE_ARCH=arm64": " --arch arm64", "IMAGE_ARCH=": "--output dist/replicatedstore.tar"} {
		out, err := exec.CommandContext(t.Context(), "make", "--no-print-directory", "-C", "../..", "-n", "image", arg, "VERSION=v1").CombinedOutput()
		if command := strings.TrimSpace(string(out)); err != nil || !strings.HasSuffix(command, want) {
			t.Errorf("%s: %q, %v", arg, command, err)
		}
	}
}

// The programs of an image report their version.
func TestProgramsSayTheirVersion(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":  "module example.com/program\n\ngo 1.26\n",
		"main.go": "package main\n\nvar version = \"dev\"\n\nfunc main() { println(version) }\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	if err := compile(t.Context(), ".", "program", options{version: "v1.2.3-4-gabcdef0", arch: runtime.GOARCH}); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("./program").CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "v1.2.3-4-gabcdef0" {
		t.Errorf("%q, %v", out, err)
	}
}
