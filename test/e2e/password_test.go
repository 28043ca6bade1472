//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strconv"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/test/e2e/stage"
	"github.com/replicatedstore/replicatedstore/test/ledger"
)

const passwordSecret = "orders-auth"

var _ = Describe("day 2: a password of clients", func() {
	It("comes to a store, is replaced, and goes; no client that gives it is told of an error", func(ctx SpecContext) {
		store := own(ctx, nil)
		load := ledger.Options{Connections: 6, Rate: 300, Timeout: patience, Password: "first password"}
		t := beginWith(ctx, store, load)
		t.rolls(ctx, "a password", func() error {
			t.asks("a Secret that is not there", store.Patch(ctx, func(rs *v1alpha1.ReplicatedStore) {
				rs.Spec.Auth.PasswordSecret = &v1alpha1.SecretKey{Name: passwordSecret}
			}))
			t.sees(ctx, v1alpha1.ConditionDegraded, metav1.ConditionTrue, v1alpha1.ReasonMemberMissing, "--password-file", "Secret")
			t.writes(ctx, "while the Secret is missing")
			return world.Client.Create(ctx, &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Namespace: store.Namespace, Name: passwordSecret}, StringData: map[string]string{"password": "first password"},
			})
		})
		for _, service := range []string{v1alpha1.ServiceReadWrite(store.Name), v1alpha1.ServiceReadOnly(store.Name), v1alpha1.ServiceRead(store.Name)} {
			address, err := store.ServiceAddress(ctx, service)
			Expect(err).NotTo(HaveOccurred())
			Expect(admits(ctx, address, "")).To(MatchError(ContainSubstring("NOAUTH")), service)
			Expect(admits(ctx, address, "guess")).To(MatchError(ContainSubstring("WRONGPASS")), service)
			Expect(admits(ctx, address, "first password")).To(Succeed(), service)
		}
		t.row.read("without the password, or with a wrong one, nobody was let in")

		password(ctx, store, "second password\nfirst password\n")
		each(ctx, store, "second password", Succeed())
		t.undisturbed(ctx)

		load.Password = "second password"
		t = beginWith(ctx, store, load)
		password(ctx, store, "second password\n")
		each(ctx, store, "first password", MatchError(ContainSubstring("WRONGPASS")))
		password(ctx, store, "\n")
		t.sees(ctx, v1alpha1.ConditionDegraded, metav1.ConditionTrue, v1alpha1.ReasonMemberProblem, "passwords stay unchanged", "0 passwords")
		password(ctx, store, "second password\n")
		ready(ctx, store)
		t.rolls(ctx, "no password", func() error {
			return store.Patch(ctx, func(rs *v1alpha1.ReplicatedStore) { rs.Spec.Auth.PasswordSecret = nil })
		})
		each(ctx, store, "", Succeed())
		t.undisturbed(ctx)
	}, SpecTimeout(10*readyTimeout))
})

// password writes text to the Secret. kubelet refreshes a pod's Secrets once a minute, and when the pod changes.
func password(ctx context.Context, s *stage.Store, text string) {
	GinkgoHelper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: passwordSecret}}
	patch := client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"stringData":{"password":%q}}`, text))
	Expect(world.Client.Patch(ctx, secret, patch)).To(Succeed())
	Expect(s.Patch(ctx, func(rs *v1alpha1.ReplicatedStore) {
		rs.Spec.PodMetadata.Annotations = map[string]string{"changed": strconv.FormatInt(time.Now().UnixNano(), 36)}
	})).To(Succeed())
}

// each waits until every member gives the expected answer to a client with the password.
func each(ctx context.Context, s *stage.Store, password string, answer OmegaMatcher) {
	GinkgoHelper()
	members, err := s.Members(ctx)
	Expect(err).NotTo(HaveOccurred())
	for _, m := range members {
		Eventually(ctx, func() error { return admits(ctx, m.Address, password) }, readyTimeout, pollPeriod).Should(answer, m.Name)
	}
}

// visitorArgument makes this program a client that writes once. It then runs on the cluster's client machine.
const visitorArgument = "visitor"

// visit writes once, with a password unless it is "".
func visit(ctx context.Context, address, password string) error {
	o := ledger.ClientOptions(address, patience, nil)
	if o.Password = password; password != "" {
		o.Username = "default"
	}
	c := redis.NewClient(o)
	defer func() { _ = c.Close() }()
	return c.Set(ctx, "visited", password, 0).Err()
}

// admits returns an error if an address does not let a client in.
func admits(ctx context.Context, address, password string) error {
	return world.Cluster.InClient(ctx, self(), visitorArgument, address, password)
}
