// Package archive writes single-layer container images as docker-archive files, without a container daemon. Its output is
// deterministic: the layer's entries are sorted and carry no timestamps, owner names or details of the host.
package archive

import (
	"archive/tar"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// File is one executable of the image.
type File struct {
	Path   string // absolute path inside the image, such as "/operator"
	Source string // file on this machine
}

// Image describes what is packed.
type Image struct {
	Reference  string            // full reference with a tag, such as "localhost/pause:1"
	Files      []File            // at least one; each becomes mode 0555, owned by root
	User       string            // "uid:gid" that the processes run as
	Entrypoint []string          // may be empty: the pod then names the command
	Labels     map[string]string // OCI labels
	Arch       string            // GOARCH of the files
}

// Write packs img into the docker-archive file at path, replacing it in one step. The directory must exist.
func Write(path string, img Image) (v1.Hash, error) {
	tag, err := name.NewTag(img.Reference, name.StrictValidation)
	if err != nil {
		return v1.Hash{}, fmt.Errorf("parse image reference: %w", err)
	}
	built, err := build(img)
	if err != nil {
		return v1.Hash{}, fmt.Errorf("assemble image %s: %w", tag, err)
	}
	digest, err := built.Digest()
	if err != nil {
		return v1.Hash{}, fmt.Errorf("compute digest of image %s: %w", tag, err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".image-*")
	if err != nil {
		return v1.Hash{}, fmt.Errorf("create image archive: %w", err)
	}
	defer os.Remove(tmp.Name())
	if err := tarball.Write(tag, built, tmp); err != nil {
		return v1.Hash{}, fmt.Errorf("write image archive %s: %w", path, err)
	}
	if err := tmp.Chmod(0o644); err != nil {
		return v1.Hash{}, fmt.Errorf("make image archive readable: %w", err)
	}
	if err := tmp.Close(); err != nil {
		return v1.Hash{}, fmt.Errorf("close image archive: %w", err)
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return v1.Hash{}, fmt.Errorf("publish image archive: %w", err)
	}
	return digest, nil
}

func build(img Image) (v1.Image, error) {
	layerTar, err := layer(img.Files)
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(layerTar)), nil
	})
	if err != nil {
		return nil, fmt.Errorf("read layer: %w", err)
	}
	out, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, fmt.Errorf("append layer: %w", err)
	}
	config, err := out.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("read image config: %w", err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", img.Arch
	config.Created = v1.Time{Time: time.Unix(0, 0).UTC()}
	config.Config = v1.Config{User: img.User, Entrypoint: img.Entrypoint, Labels: img.Labels, WorkingDir: "/"}
	config.History = nil
	return mutate.ConfigFile(out, config)
}

// layer returns the uncompressed tar stream of files: the directories a process expects, then the executables.
func layer(files []File) ([]byte, error) {
	if len(files) == 0 {
		return nil, fmt.Errorf("image has no files")
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, dir := range []struct {
		name string
		mode int64
	}{{"etc/", 0o755}, {"tmp/", 0o1777}} {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir.name, Mode: dir.mode, Format: tar.FormatUSTAR}); err != nil {
			return nil, fmt.Errorf("write layer directory %s: %w", dir.name, err)
		}
	}
	// A passwd entry lets libraries that ask for the user's name find one.
	if err := entry(w, "etc/passwd", 0o444, []byte("root:x:0:0:root:/:/none\nnonroot:x:65532:65532:nonroot:/:/none\n")); err != nil {
		return nil, err
	}
	sorted := slices.SortedFunc(slices.Values(files), func(a, b File) int { return cmp.Compare(a.Path, b.Path) })
	for _, f := range sorted {
		content, err := os.ReadFile(f.Source)
		if err != nil {
			return nil, fmt.Errorf("read image file: %w", err)
		}
		if err := entry(w, f.Path[1:], 0o555, content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("close layer: %w", err)
	}
	return buf.Bytes(), nil
}

func entry(w *tar.Writer, path string, mode int64, content []byte) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: path, Mode: mode, Size: int64(len(content)), Format: tar.FormatUSTAR}
	if err := w.WriteHeader(h); err != nil {
		return fmt.Errorf("write layer header of %s: %w", path, err)
	}
	if _, err := w.Write(content); err != nil {
		return fmt.Errorf("write layer content of %s: %w", path, err)
	}
	return nil
}
