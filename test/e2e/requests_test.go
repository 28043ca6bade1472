//go:build e2e

package e2e

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/test/e2e/stage"
)

var _ = Describe("leadership", func() {
	It("moves on request to the member that was named", Label(labelQuick), func(ctx SpecContext) {
		store := usual(ctx)
		t := begin(ctx, store)
		target := t.followers(ctx)[1].member
		t.fault("ask for "+target, request(ctx, store, target))
		rs := t.led(ctx)
		Expect(rs.Status.Leader).To(Equal(target))
		Expect(rs.Status.LastFailover.Kind).To(Equal(v1alpha1.KindHandover))
		Eventually(func(g Gomega) { // it is answered after the report, in another pass if the first one fails
			rs, err := store.Get(ctx)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(rs.Status.FailoverRequest).NotTo(BeNil())
			g.Expect(rs.Status.FailoverRequest.Result).To(Equal(v1alpha1.ResultSucceeded))
			g.Expect(rs.Annotations).NotTo(HaveKey(v1alpha1.AnnotationFailover))
		}, readyTimeout).Should(Succeed())
		t.end(ctx)
	}, SpecTimeout(2*readyTimeout))
})

// request asks for another leader, as a user does.
func request(ctx context.Context, s *stage.Store, target string) error {
	return s.Patch(ctx, func(rs *v1alpha1.ReplicatedStore) {
		if rs.Annotations == nil {
			rs.Annotations = map[string]string{}
		}
		rs.Annotations[v1alpha1.AnnotationFailover] = target
	})
}
