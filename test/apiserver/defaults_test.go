package apiserver_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	api "github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

var _ = Describe("defaults", func() {
	It("turns a size into a store of three that loses nothing", func(ctx SpecContext) {
		Expect(created(ctx, "orders", storage).Spec).To(Equal(api.ReplicatedStoreSpec{
			Replicas: ptr.To[int32](3),
			Storage: api.StorageSpec{
				Size:            resource.MustParse("1Gi"),
				RetentionPolicy: api.RetentionPolicy{WhenDeleted: api.RetainClaim, WhenScaled: api.RetainClaim},
			},
			Replication: api.ReplicationSpec{
				Synchronous:         api.SynchronousSpec{Number: ptr.To[int32](1), Durability: api.DurabilityRequired},
				WriteTimeoutSeconds: ptr.To[int32](10),
			},
			Failover: api.FailoverSpec{
				Mode:                 api.FailoverAutomatic,
				LeaseDurationSeconds: ptr.To[int32](6),
				DataLoss:             api.DataLossForbid,
			},
			Reads: api.ReadsSpec{Consistency: api.ConsistencySession},
		}))
	})

	DescribeTable("fills in beside what is given", func(ctx SpecContext, spec string, check func(api.ReplicatedStoreSpec)) {
		check(created(ctx, "orders", storage+spec).Spec)
	},
		Entry("replication", "replication: {writeTimeoutSeconds: 3}", func(s api.ReplicatedStoreSpec) {
			Expect(s.Replication.WriteTimeoutSeconds).To(HaveValue(BeEquivalentTo(3)))
			Expect(s.Replication.Synchronous).To(Equal(api.SynchronousSpec{Number: ptr.To[int32](1), Durability: api.DurabilityRequired}))
		}),
		Entry("an explicit zero", "replication: {synchronous: {number: 0}}", func(s api.ReplicatedStoreSpec) {
			Expect(s.SynchronousNumber()).To(BeZero())
			Expect(s.Replication.Synchronous.Durability).To(Equal(api.DurabilityRequired))
		}),
		Entry("failover", "failover: {mode: Manual}", func(s api.ReplicatedStoreSpec) {
			Expect(s.Failover.LeaseDurationSeconds).To(HaveValue(BeEquivalentTo(6)))
			Expect(s.Failover.DataLoss).To(Equal(api.DataLossForbid))
		}),
		Entry("auth", "auth: {passwordSecret: {name: orders-auth}}", func(s api.ReplicatedStoreSpec) {
			Expect(s.Auth.PasswordSecret).To(HaveValue(Equal(api.SecretKey{Name: "orders-auth", Key: "password"})))
		}),
		Entry("scheduling", "scheduling: {priorityClassName: high}", func(s api.ReplicatedStoreSpec) {
			Expect(s.Scheduling.TerminationGracePeriodSeconds).To(HaveValue(BeEquivalentTo(30)))
		}),
	)

	It("agrees with the defaults that Go code assumes for objects that never passed an API server", func(ctx SpecContext) {
		got, bare := created(ctx, "orders", storage+"scheduling: {priorityClassName: high}").Spec, api.ReplicatedStoreSpec{}
		Expect(bare.Size()).To(Equal(got.Size()))
		Expect(bare.SynchronousNumber()).To(Equal(got.SynchronousNumber()))
		Expect(bare.LeaseDuration()).To(Equal(got.LeaseDuration()))
		Expect(bare.WriteTimeout()).To(Equal(got.WriteTimeout()))
		Expect(bare.GracePeriod()).To(Equal(got.GracePeriod()))
	})

	It("keeps what a user may add", func(ctx SpecContext) {
		s := created(ctx, "orders", storage+`
scheduling:
  tolerations: [{key: dedicated, operator: Equal, value: stores, effect: NoSchedule}]
  topologySpreadConstraints: [{maxSkew: 1, topologyKey: rack, whenUnsatisfiable: DoNotSchedule}]
imagePullSecrets: [{name: registry}]
`).Spec
		Expect(s.Scheduling.Tolerations).To(ConsistOf(HaveField("Key", "dedicated")))
		Expect(s.Scheduling.TopologySpreadConstraints).To(ConsistOf(HaveField("TopologyKey", "rack")))
		Expect(s.ImagePullSecrets).To(ConsistOf(corev1.LocalObjectReference{Name: "registry"}))
	})
})
