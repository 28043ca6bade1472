package archive

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func sample(t *testing.T) Image {
	return Image{
		Reference: "localhost/sample:dev",
		Files: []File{
			{Path: "/node", Source: writeFile(t, "n", "node binary")},
			{Path: "/operator", Source: writeFile(t, "o", "operator binary")},
		},
		User: "65532:65532", Arch: "amd64",
	}
}

func TestWriteGivesTheSameBytesAgain(t *testing.T) {
	first, second := filepath.Join(t.TempDir(), "a.tar"), filepath.Join(t.TempDir(), "b.tar")
	img := sample(t)
	if _, err := Write(first, img); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Hour)
	for _, f := range img.Files {
		if err := os.Chtimes(f.Source, later, later); err != nil {
			t.Fatal(err)
		}
	}
	img.Files[0], img.Files[1] = img.Files[1], img.Files[0]
	if _, err := Write(second, img); err != nil {
		t.Fatal(err)
	}
	a, errA := os.ReadFile(first)
	b, errB := os.ReadFile(second)
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	if !bytes.Equal(a, b) {
		t.Fatal("the same files, touched and in another order, gave another archive")
	}
}

func TestWriteHoldsFilesUserAndTag(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image.tar")
	if _, err := Write(path, sample(t)); err != nil {
		t.Fatal(err)
	}
	tag := name.MustParseReference("localhost/sample:dev").(name.Tag)
	img, err := tarball.ImageFromPath(path, &tag)
	if err != nil {
		t.Fatalf("read back by tag: %v", err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.Config.User != "65532:65532" || len(config.Config.Entrypoint) != 0 || config.OS != "linux" {
		t.Fatalf("config = %+v", config.Config)
	}
	layers, err := img.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("layers = %d, %v", len(layers), err)
	}
	content, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]*tar.Header{}
	for r := tar.NewReader(content); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got[h.Name] = h
	}
	for _, path := range []string{"operator", "node"} {
		h := got[path]
		if h == nil || h.Mode != 0o555 || h.Uid != 0 || !h.ModTime.Equal(time.Unix(0, 0)) {
			t.Errorf("entry %s = %+v", path, h)
		}
	}
	if tmp := got["tmp/"]; tmp == nil || tmp.Mode != 0o1777 {
		t.Errorf("entry tmp/ = %+v", tmp)
	}
}

func TestWriteRefuses(t *testing.T) {
	tests := map[string]func(*Image){
		"no files":       func(i *Image) { i.Files = nil },
		"missing file":   func(i *Image) { i.Files[0].Source = "/nonexistent/file" },
		"reference bare": func(i *Image) { i.Reference = "sample" },
	}
	for label, change := range tests {
		t.Run(label, func(t *testing.T) {
			img := sample(t)
			change(&img)
			path := filepath.Join(t.TempDir(), "image.tar")
			if _, err := Write(path, img); err == nil {
				t.Fatal("want an error")
			}
			if _, err := os.Stat(path); err == nil {
				t.Fatal("a failed write left an archive")
			}
		})
	}
}
