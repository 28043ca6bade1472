package stage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// Where the operator runs.
const (
	SystemNamespace = "replicatedstore-system"
	release         = "replicatedstore-operator"
)

// Options configure a Stage.
type Options struct {
	// Workers is the number of workers of the project's own cluster.
	Workers int
	// Image is an image with the operator and the node that another cluster can pull. The own cluster builds and loads its own.
	Image string
	// Log receives the output of the tools.
	Log io.Writer
}

// Stage is a cluster with the operator on it.
type Stage struct {
	Root       string
	Kubeconfig string
	// Cluster is nil if the cluster is not the project's own.
	Cluster *Cluster
	Client  client.Client
	Kube    kubernetes.Interface
	Config  *rest.Config

	opt Options
}

// Open starts the project's own cluster, or connects to the one that KUBECONFIG names.
func Open(ctx context.Context, opt Options) (*Stage, error) {
	root, err := Root()
	if err != nil {
		return nil, err
	}
	s := &Stage{Root: root, opt: opt, Kubeconfig: os.Getenv("KUBECONFIG")}
	own := newCluster(root, opt.Log)
	if err := s.tool(ctx, "make", "--no-print-directory", "bin/cluster"); err != nil {
		return nil, err
	}
	ownConfig, err := own.run(ctx, "kubeconfig")
	if err != nil {
		return nil, err
	}
	if s.Kubeconfig == "" || s.Kubeconfig == ownConfig {
		s.Cluster, s.Kubeconfig = own, ownConfig
		if err := own.Up(ctx, opt.Workers); err != nil {
			return nil, err
		}
	}
	return s, s.connect()
}

func (s *Stage) connect() error {
	config, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig)
	if err != nil {
		return fmt.Errorf("read %s: %w", s.Kubeconfig, err)
	}
	config.QPS, config.Burst = 100, 200
	s.Config = config
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	if s.Client, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		return fmt.Errorf("connect to the cluster: %w", err)
	}
	if s.Kube, err = kubernetes.NewForConfig(config); err != nil {
		return fmt.Errorf("connect to the cluster: %w", err)
	}
	return nil
}

// Image builds the product's image, loads it into the own cluster, and returns its reference and a digest of its content. On
// another cluster, the reference is Options.Image.
func (s *Stage) Image(ctx context.Context) (reference, digest string, err error) {
	if s.Cluster == nil {
		if s.opt.Image == "" {
			return "", "", errors.New("another cluster needs the reference of an image that it can pull")
		}
		return s.opt.Image, s.opt.Image, nil
	}
	return s.buildImage(ctx, "dev", "replicatedstore.tar")
}

// TestImage is Image with Go build tags that only tests use.
func (s *Stage) TestImage(ctx context.Context, tags string) (reference, digest string, err error) {
	return s.buildImage(ctx, tags, "replicatedstore-"+tags+".tar", "IMAGE_BUILD_TAGS="+tags)
}

// ImageAs is Image under another tag.
func (s *Stage) ImageAs(ctx context.Context, tag string) (reference, digest string, err error) {
	return s.buildImage(ctx, tag, "replicatedstore-"+tag+".tar")
}

func (s *Stage) buildImage(ctx context.Context, tag, file string, vars ...string) (reference, digest string, err error) {
	reference = "localhost/replicatedstore:" + tag
	archive := filepath.Join(s.Root, "dist", file)
	args := append([]string{"--no-print-directory", "image", "IMAGE=" + reference, "IMAGE_ARCHIVE=" + archive}, vars...)
	if err := s.tool(ctx, "make", args...); err != nil {
		return "", "", err
	}
	if digest, err = fileDigest(archive); err != nil {
		return "", "", err
	}
	return reference, digest, s.Cluster.Load(ctx, archive)
}

// Install installs or upgrades the operator with its chart, and waits for it. The digest makes the operator restart when the
// image's content changed under the same reference.
func (s *Stage) Install(ctx context.Context, reference, digest string, values ...string) error {
	return s.InstallWith(ctx, reference, reference, digest, values...)
}

// InstallWith is Install with separate images for the operator and for the stores' members.
func (s *Stage) InstallWith(ctx context.Context, operator, node, digest string, values ...string) error {
	return s.InstallRelease(ctx, release, SystemNamespace, operator, node, digest, values...)
}

// InstallRelease is InstallWith under another release name and in another namespace. On a cluster that is not the project's own it
// touches nobody else's operator.
func (s *Stage) InstallRelease(ctx context.Context, name, namespace, operator, node, digest string, values ...string) error {
	if s.Cluster == nil {
		if err := s.mayInstall(ctx, name, namespace); err != nil {
			return err
		}
	}
	helm, err := s.toolPath(ctx, "helm")
	if err != nil {
		return err
	}
	args := []string{
		"upgrade", "--install", name, filepath.Join(s.Root, "charts", "replicatedstore-operator"),
		"--kubeconfig", s.Kubeconfig, "--namespace", namespace, "--create-namespace", "--wait", "--timeout", "2m",
		"--set-string", "podAnnotations.build=" + digest[:min(12, len(digest))] + ",podAnnotations." + mark + "=true",
	}
	for value, reference := range map[string]string{"image": operator, "nodeImage": node} {
		at := strings.LastIndex(reference, ":")
		if at < strings.LastIndex(reference, "/") || at < 0 {
			return fmt.Errorf("image %q has no tag", reference)
		}
		args = append(args, "--set", value+".repository="+reference[:at], "--set-string", value+".tag="+reference[at+1:])
	}
	for _, v := range values {
		args = append(args, "--set", v)
	}
	err = s.tool(ctx, helm, args...)
	if err != nil && s.Cluster != nil && strings.Contains(err.Error(), "another operation") {
		// A run whose helm was killed left the release in this state forever. Stores and their CRD survive its removal.
		if err = s.Uninstall(ctx, name, namespace); err == nil {
			err = s.tool(ctx, helm, args...)
		}
	}
	return err
}

// Uninstall removes a release from the own cluster, but not the CRD.
func (s *Stage) Uninstall(ctx context.Context, name, namespace string) error {
	if s.Cluster == nil {
		return fmt.Errorf("release %s/%s: nothing is uninstalled from a cluster that is not the project's own", namespace, name)
	}
	helm, err := s.toolPath(ctx, "helm")
	if err != nil {
		return err
	}
	return s.tool(ctx, helm, "uninstall", name, "--kubeconfig", s.Kubeconfig, "--namespace", namespace, "--ignore-not-found", "--wait")
}

// toolPath returns the path of a program from the tool modules.
func (s *Stage) toolPath(ctx context.Context, name string) (string, error) {
	return newCluster(s.Root, s.opt.Log).run(ctx, "tool-path", name)
}

// tool runs a program in the repository's root. Its output goes to the log, and the tail of it into the error.
func (s *Stage) tool(ctx context.Context, name string, args ...string) error {
	tail := &tailWriter{}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = s.Root
	both := io.MultiWriter(s.opt.Log, tail)
	cmd.Stdout, cmd.Stderr = both, both
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), args[0], err, tail)
	}
	return nil
}

// tailWriter keeps the last bytes written to it.
type tailWriter struct{ kept []byte }

const tailBytes = 2000

func (t *tailWriter) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	t.kept = t.kept[max(0, len(t.kept)-tailBytes):]
	return len(p), nil
}

func (t *tailWriter) String() string { return strings.TrimSpace(string(t.kept)) }

func fileDigest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read the image: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read the image: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
