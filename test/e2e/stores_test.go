//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strconv"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/test/e2e/stage"
)

// used is the store that one case after the other damages, as faults do to a store in production. The first case that needs it
// creates it. A case that fails leaves it for inspection, and the next one creates another.
var used *stage.Store

func usual(ctx context.Context) *stage.Store {
	GinkgoHelper()
	if used == nil {
		used = create(ctx, apart)
	}
	s := used
	DeferCleanup(func(ctx SpecContext) {
		if CurrentSpecReport().Failed() {
			used = nil
		}
	})
	return s
}

// own creates a store for one case, modified by change, and removes it when the case has passed.
func own(ctx context.Context, change func(*v1alpha1.ReplicatedStore)) *stage.Store {
	GinkgoHelper()
	return sample(ctx, func(rs *v1alpha1.ReplicatedStore) {
		apart(rs)
		if change != nil {
			change(rs)
		}
	})
}

// sample is own with the sample's scheduling, which specifies nothing: it is what users get by default.
func sample(ctx context.Context, change func(*v1alpha1.ReplicatedStore)) *stage.Store {
	GinkgoHelper()
	s := create(ctx, change)
	DeferCleanup(func(ctx SpecContext) {
		if !CurrentSpecReport().Failed() {
			Expect(world.ForgetNamespace(ctx, s.Namespace)).To(Succeed())
		}
	})
	return s
}

// apart forces members onto different nodes, which the sample only prefers: it must be clear what is lost with a node.
func apart(rs *v1alpha1.ReplicatedStore) {
	rs.Spec.Scheduling.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{
		MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.DoNotSchedule,
	}}
}

// create creates a store from the sample in its own namespace and waits until it is Ready. If the case fails, it reports what is
// known of the store.
func create(ctx context.Context, change func(*v1alpha1.ReplicatedStore)) *stage.Store {
	GinkgoHelper()
	ns, err := world.Namespace(ctx, "e2e-"+strconv.FormatInt(time.Now().Unix(), 36))
	Expect(err).NotTo(HaveOccurred())
	s, err := world.Create(ctx, ns, manifest, change)
	Expect(err).NotTo(HaveOccurred())
	subject = s
	ready(ctx, s)
	return s
}

// subject is the store that was used last.
var subject *stage.Store

// explain reports what is known of the subject if a spec failed.
func explain(ctx context.Context) {
	if subject != nil && CurrentSpecReport().Failed() {
		subject.Diagnose(ctx, GinkgoWriter)
	}
}

func ready(ctx context.Context, s *stage.Store) *v1alpha1.ReplicatedStore {
	GinkgoHelper()
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	rs, err := s.Wait(ctx, tell, stage.Ready)
	Expect(err).NotTo(HaveOccurred(), "the store must become Ready")
	return rs
}

// ledAfter waits for a leadership after epoch that takes writes.
func ledAfter(ctx context.Context, s *stage.Store, epoch int64) *v1alpha1.ReplicatedStore {
	GinkgoHelper()
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	rs, err := s.Wait(ctx, tell, stage.LedAfter(epoch))
	Expect(err).NotTo(HaveOccurred(), "there must be a leader after epoch %d", epoch)
	return rs
}

func tell(s string) { GinkgoWriter.Println(time.Now().Format("15:04:05.000"), s) }

func condition(rs *v1alpha1.ReplicatedStore, kind string) metav1.Condition {
	for _, c := range rs.Status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return metav1.Condition{}
}

// annotatePod sets an annotation of a member's pod; "" removes it.
func annotatePod(ctx context.Context, s *stage.Store, member, key, value string) error {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: member}}
	to := strconv.Quote(value)
	if value == "" {
		to = "null"
	}
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%s}}}`, key, to)
	return s.Client.Patch(ctx, pod, client.RawPatch(types.MergePatchType, patch))
}
