//go:build e2e

package e2e

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// test/apiserver tests every rule. This is about the definition that was installed: it has the rules.
var _ = It("refuses a spec that cannot work with a sentence that says why", Label(labelQuick, labelTogether), func(ctx SpecContext) {
	ns, err := world.Namespace(ctx, "e2e-refused")
	Expect(err).NotTo(HaveOccurred())
	_, err = world.Create(ctx, ns, manifest, func(rs *v1alpha1.ReplicatedStore) {
		rs.Spec.Replication.Synchronous.Number = new(int32(3))
	})
	Expect(err).To(Satisfy(apierrors.IsInvalid))
	Expect(err).To(MatchError(ContainSubstring("spec.replication.synchronous.number must be below spec.replicas")))
})
