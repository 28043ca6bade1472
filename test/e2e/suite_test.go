//go:build e2e

// Package e2e tests the operator and the node together on a real Kubernetes cluster of its own (hack/cluster), and injects faults
// where they hurt. It asserts what clients were promised: acknowledged writes are kept, over connections that were open before the
// fault, and there is one leader per epoch.
//
//	make e2e                          # everything but what takes very long
//	make e2e CASE='node is lost'      # one case, by its name or a regular expression
//	make e2e PART=1/3                 # a third of the cases
//	make e2e E2E_FLAGS='-ginkgo.label-filter=quick'
//	KUBECONFIG=... RSTORE_IMAGE=registry/replicatedstore:1 make e2e    # on another cluster, without breaking its machines
package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/redis/go-redis/v9/logging"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/replicatedstore/replicatedstore/test/e2e/stage"
	"github.com/replicatedstore/replicatedstore/test/ledger"
)

// writerArgument makes this program a ledger writer. It then runs on the cluster's client machine.
const writerArgument = "ledger-writer"

// helpers are what this program can do on machines of the cluster, by its first argument.
var helpers = map[string]func(args []string) error{
	writerArgument: func([]string) error { return ledger.Serve(context.Background(), os.Stdin, os.Stdout, nil) },
	fillerArgument: func(args []string) error {
		if len(args) != 2 {
			return fmt.Errorf("%s: want an address and a number of bytes", fillerArgument)
		}
		total, err := strconv.Atoi(args[1])
		if err != nil {
			return fmt.Errorf("%s: %w", fillerArgument, err)
		}
		return fill(context.Background(), args[0], total)
	},
	visitorArgument: func(args []string) error {
		if len(args) != 2 {
			return fmt.Errorf("%s: want an address and a password", visitorArgument)
		}
		return visit(context.Background(), args[0], args[1])
	},
	heavyArgument: func(args []string) error {
		if len(args) != 3 {
			return fmt.Errorf("%s: want an address, and how many write and read", heavyArgument)
		}
		writers, errW := strconv.Atoi(args[1])
		readers, errR := strconv.Atoi(args[2])
		if err := errors.Join(errW, errR); err != nil {
			return fmt.Errorf("%s: %w", heavyArgument, err)
		}
		did, err := loadHeavily(args[0], writers, readers)
		fmt.Println(did)
		return err
	},
	watcherArgument: func(args []string) error {
		if len(args) != 1 {
			return fmt.Errorf("%s: want the UID of a store", watcherArgument)
		}
		return watchMembers(args[0], os.Stdin, os.Stdout)
	},
}

func TestMain(m *testing.M) {
	logging.Disable()
	if len(os.Args) > 1 {
		if helper, ok := helpers[os.Args[1]]; ok {
			if err := helper(os.Args[2:]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			return
		}
	}
	log.SetLogger(logr.Discard())
	os.Exit(m.Run())
}

func TestE2E(t *testing.T) {
	RegisterFailHandler(Fail)
	suite, reporter := GinkgoConfiguration()
	if *caseFlag != "" {
		suite.LabelFilter = "" // a name takes precedence
	}
	focus, err := choose(PreviewSpecs(suiteName, suite), *caseFlag, *partFlag)
	if err != nil {
		t.Fatal(err)
	}
	suite.FocusStrings = append(suite.FocusStrings, focus...)
	// Before the next case begins, undo whatever this one did, and report if it failed. This must be registered here because a
	// preview drops it (ginkgo 2.34 restores containers and suite nodes afterwards, but not the nodes beside them).
	AfterEach(func(ctx SpecContext) {
		explain(ctx)
		mend(ctx)
	}, NodeTimeout(readyTimeout))
	RunSpecs(t, suiteName, suite, reporter)
}

const suiteName = "end to end"

// Time limits. None of them asserts speed.
const (
	setUpTimeout  = 30 * time.Minute // the first time, Kubernetes is built from source
	readyTimeout  = 3 * time.Minute
	changeTimeout = 90 * time.Second
	unrenewed     = 10 * time.Second // longer than the sample's Lease lives
	verifyTimeout = time.Minute
	workers       = 3

	pollPeriod = 200 * time.Millisecond
)

// world is the stage of all specs, manifest is the sample from which their stores are made, and image is what the operator and the
// members run.
var (
	world              *stage.Stage
	manifest           []byte
	image, imageDigest string
)

var _ = BeforeSuite(func(ctx SpecContext) {
	var err error
	world, err = stage.Open(ctx, stage.Options{Workers: workers, Image: os.Getenv(imageVariable), Log: GinkgoWriter})
	Expect(err).NotTo(HaveOccurred())
	mend(ctx)
	_, err = world.Forget(ctx, "e2e")
	Expect(err).NotTo(HaveOccurred())
	image, imageDigest, err = world.Image(ctx)
	Expect(err).NotTo(HaveOccurred())
	Expect(world.Install(ctx, image, imageDigest)).To(Succeed())
	manifest, err = os.ReadFile(filepath.Join(world.Root, "config", "samples", "orders.yaml"))
	Expect(err).NotTo(HaveOccurred())
}, NodeTimeout(setUpTimeout))

// A failed run leaves its stores for inspection; the next run removes them.
var _ = ReportAfterSuite("remove the stores", func(ctx SpecContext, r Report) {
	if world == nil || !r.SuiteSucceeded {
		return
	}
	_, err := world.Forget(ctx, "e2e")
	Expect(err).NotTo(HaveOccurred())
}, NodeTimeout(time.Minute))

// imageVariable is the environment variable with an image that another cluster can pull.
const imageVariable = "RSTORE_IMAGE"

// onOwnCluster skips a spec that breaks machines or processes if KUBECONFIG names the cluster.
func onOwnCluster() {
	GinkgoHelper()
	if world.Cluster == nil {
		Skip("this spec breaks machines, and KUBECONFIG names a cluster that is not the project's own")
	}
}

// mend undoes every fault that a spec left behind.
func mend(ctx context.Context) {
	if world.Cluster == nil {
		return
	}
	Expect(world.Cluster.StartAPI(ctx)).To(Succeed())
	Expect(world.Cluster.Heal(ctx)).To(Succeed())
	for n := range workers {
		Expect(world.Cluster.EnsureNode(ctx, fmt.Sprintf("n%d", n+1))).To(Succeed())
	}
	Expect(world.Uncordon(ctx)).To(Succeed())
}
