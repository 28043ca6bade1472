// Command image builds the product's container image without a container daemon: static programs in one layer, no
// shell, an ordinary user. The same sources, version and compiler give the same bytes.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/replicatedstore/replicatedstore/hack/image/archive"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := newCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

// options are the options of a build.
type options struct {
	tag, output, arch string
	version           string   // version that the programs report
	programs          []string // Go packages; each becomes /<last element>
	buildTags         []string // Go build tags
}

func newCommand() *cobra.Command {
	o := options{}
	c := &cobra.Command{
		Use:   "image",
		Short: "Build the container image as a docker-archive file, without a container daemon",
		Long: `image compiles the programs without cgo and packs them into one image: each package's program lies in the root
directory under the package's name. The image has no entry point; a pod names "/operator" or "/node" as its command.`,
		Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return build(cmd.Context(), o) },
	}
	c.Flags().StringVar(&o.tag, "tag", "localhost/replicatedstore:dev", "reference of the image")
	c.Flags().StringVar(&o.output, "output", "dist/replicatedstore.tar", "archive to write")
	c.Flags().StringVar(&o.version, "version", "dev", "version that the programs and the image's label say")
	c.Flags().StringVar(&o.arch, "arch", runtime.GOARCH, "GOARCH of the programs")
	c.Flags().StringSliceVar(&o.programs, "program", []string{"./cmd/operator", "./cmd/node"}, "main packages to pack")
	c.Flags().StringSliceVar(&o.buildTags, "build-tags", nil, "Go build tags, for images of tests")
	return c
}

func build(ctx context.Context, o options) error {
	if len(o.programs) == 0 {
		return errors.New("build image: no program")
	}
	started := time.Now()
	step := func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "[%5.1fs] %s\n", time.Since(started).Seconds(), fmt.Sprintf(format, args...))
	}
	tmp, err := os.MkdirTemp("", "image-")
	if err != nil {
		return fmt.Errorf("create build directory: %w", err)
	}
	defer os.RemoveAll(tmp)
	img := archive.Image{
		Reference: o.tag, User: "65532:65532", Arch: o.arch,
		Labels: map[string]string{"org.opencontainers.image.title": "replicatedstore", "org.opencontainers.image.version": o.version},
	}
	for i, pkg := range o.programs {
		name := path.Base(filepath.ToSlash(pkg))
		step("compiling /%s (%d of %d)", name, i+1, len(o.programs))
		file := filepath.Join(tmp, name)
		if err := compile(ctx, pkg, file, o); err != nil {
			return err
		}
		img.Files = append(img.Files, archive.File{Path: "/" + name, Source: file})
	}
	step("packing %s", o.tag)
	if err := os.MkdirAll(filepath.Dir(o.output), 0o755); err != nil {
		return fmt.Errorf("create output directory: %w", err)
	}
	digest, err := archive.Write(o.output, img)
	if err != nil {
		return err
	}
	info, err := os.Stat(o.output)
	if err != nil {
		return fmt.Errorf("look at the archive: %w", err)
	}
	step("%s: %.1f MiB, %s", o.output, float64(info.Size())/(1<<20), digest)
	return nil
}

// compile builds one static program. -buildvcs=false omits the commit, so that equal sources of one version give equal bytes.
func compile(ctx context.Context, pkg, file string, o options) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -X main.version="+o.version,
		"-tags="+strings.Join(o.buildTags, ","), "-o", file, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+o.arch)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("compile %s: %w\n%s", pkg, err, strings.TrimSpace(string(out)))
	}
	return nil
}
