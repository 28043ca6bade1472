//go:build e2e

// Package e2e tests the operator and the node together, on a real Kubernetes cluster of its own (hack/cluster), with faults
// put where they hurt. What is asserted is what clients were promised: acknowledged writes, through connections that were
// open before the fault, and one leader per epoch.
//
//	make e2e
//	make e2e E2E_FLAGS='-ginkgo.focus="node is cut"'
//	KUBECONFIG=... RSTORE_IMAGE=registry/replicatedstore:1 make e2e    # on another cluster, without breaking its machines
package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/replicatedstore/replicatedstore/test/e2e/stage"
	"github.com/replicatedstore/replicatedstore/test/ledger"
)

// writerArgument makes this program a ledger writer: it is what runs in the cluster's client machine.
const writerArgument = "ledger-writer"

func TestMain(m *testing.M) {
	redis.SetLogger(silence{})
	if len(os.Args) == 2 && os.Args[1] == writerArgument {
		if err := ledger.Serve(context.Background(), os.Stdin, os.Stdout, nil); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) == 4 && os.Args[1] == fillerArgument {
		total, err := strconv.Atoi(os.Args[3])
		if err == nil {
			err = fill(context.Background(), os.Args[2], total)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	log.SetLogger(logr.Discard())
	os.Exit(m.Run())
}

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

func TestE2E(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "end to end")
}

// Bounds of waiting. None is an assertion about speed.
const (
	setUpTimeout  = 30 * time.Minute // the first time, Kubernetes is built from source
	readyTimeout  = 3 * time.Minute
	changeTimeout = 90 * time.Second
	verifyTimeout = time.Minute
	workers       = 3
)

// world is the one stage of all specs; manifest the sample that their stores are made from.
var (
	world    *stage.Stage
	manifest []byte
)

var _ = BeforeSuite(func(ctx SpecContext) {
	var err error
	world, err = stage.Open(ctx, stage.Options{Workers: workers, Image: os.Getenv(imageVariable), Log: GinkgoWriter})
	Expect(err).NotTo(HaveOccurred())
	mend(ctx)
	_, err = world.Forget(ctx, "e2e")
	Expect(err).NotTo(HaveOccurred())
	image, digest, err := world.Image(ctx)
	Expect(err).NotTo(HaveOccurred())
	Expect(world.Install(ctx, image, digest)).To(Succeed())
	manifest, err = os.ReadFile(filepath.Join(world.Root, "config", "samples", "orders.yaml"))
	Expect(err).NotTo(HaveOccurred())
}, NodeTimeout(setUpTimeout))

// A run that failed leaves its stores for a look at them; the next one removes them.
var _ = ReportAfterSuite("remove the stores", func(ctx SpecContext, r Report) {
	if world == nil || !r.SuiteSucceeded {
		return
	}
	_, err := world.Forget(ctx, "e2e")
	Expect(err).NotTo(HaveOccurred())
}, NodeTimeout(time.Minute))

// imageVariable names the environment variable with the image that another cluster can pull.
const imageVariable = "RSTORE_IMAGE"

// onOwnCluster leaves a spec out on a cluster that KUBECONFIG names: it breaks machines or their processes.
func onOwnCluster() {
	GinkgoHelper()
	if world.Cluster == nil {
		Skip("this spec breaks machines, and KUBECONFIG names a cluster that is not the project's own")
	}
}

// mend undoes every fault, whatever a spec left behind.
func mend(ctx context.Context) {
	if world.Cluster == nil {
		return
	}
	Expect(world.Cluster.Heal(ctx)).To(Succeed())
	for n := range workers {
		Expect(world.Cluster.EnsureNode(ctx, fmt.Sprintf("n%d", n+1))).To(Succeed())
	}
}
