//go:build e2e

package e2e

import (
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

var _ = DescribeTable("a spec that cannot work is refused with a sentence that says why", Label(labelQuick, labelTogether),
	func(ctx SpecContext, says string, change func(*v1alpha1.ReplicatedStore)) {
		ns, err := world.Namespace(ctx, "e2e-refused")
		Expect(err).NotTo(HaveOccurred())
		_, err = world.Create(ctx, ns, manifest, change)
		Expect(err).To(HaveOccurred())
		Expect(apierrors.IsInvalid(err)).To(BeTrue(), "%v", err)
		Expect(err.Error()).To(ContainSubstring(says))
	},
	Entry("no member", "spec.replicas", func(rs *v1alpha1.ReplicatedStore) { rs.Spec.Replicas = new(int32(0)) }),
	Entry("too many members", "spec.replicas", func(rs *v1alpha1.ReplicatedStore) { rs.Spec.Replicas = new(int32(v1alpha1.MaxReplicas + 1)) }),
	Entry("more synchronous followers than followers", "synchronous", func(rs *v1alpha1.ReplicatedStore) {
		rs.Spec.Replication.Synchronous.Number = new(int32(3))
	}),
	Entry("a bound of loss without Bounded", "maxLostWrites", func(rs *v1alpha1.ReplicatedStore) {
		rs.Spec.Failover.MaxLostWrites = new(int64(1))
	}),
	Entry("a Lease that is too short", "leaseDurationSeconds", func(rs *v1alpha1.ReplicatedStore) {
		rs.Spec.Failover.LeaseDurationSeconds = new(int32(1))
	}),
	Entry("a level of consistency that is none", "consistency", func(rs *v1alpha1.ReplicatedStore) {
		rs.Spec.Reads.Consistency = "Strong"
	}),
	Entry("a name too long for its children", "name", func(rs *v1alpha1.ReplicatedStore) {
		rs.Name = strings.Repeat("o", v1alpha1.MaxNameLength+1)
	}),
	Entry("storage of no size", "storage", func(rs *v1alpha1.ReplicatedStore) {
		rs.Spec.Storage.Size = resource.MustParse("0")
	}),
)
