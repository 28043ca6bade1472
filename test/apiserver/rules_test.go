package apiserver_test

import (
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// For every rule there is a spec that it accepts and a similar one that it rejects, with an error that names the field and the
// rule.

const storage = "storage: {size: 1Gi}\n"

// longDomain has 253 characters, the maximum before the slash of a key.
var longDomain = strings.Repeat("d.", 126) + "d"

// refusal matches the API server's "invalid" error with the given words in it.
func refusal(words ...string) OmegaMatcher {
	all := []OmegaMatcher{Satisfy(apierrors.IsInvalid)}
	for _, w := range words {
		all = append(all, MatchError(ContainSubstring(w)))
	}
	return And(all...)
}

type creation struct {
	accepted, refused string
	saying            []string
}

var _ = DescribeTable("a rule of the spec", func(ctx SpecContext, c creation) {
	Expect(k8s.Create(ctx, manifest("good", c.accepted))).To(Succeed())
	Expect(k8s.Create(ctx, manifest("bad", c.refused))).To(refusal(c.saying...))
},
	Entry("a write can wait for followers only", creation{
		accepted: storage + "replicas: 3\nreplication: {synchronous: {number: 2}}",
		refused:  storage + "replicas: 3\nreplication: {synchronous: {number: 3}}",
		saying:   []string{"spec.replication.synchronous.number must be below spec.replicas: the leader is one of the replicas"},
	}),
	Entry("a store of one member is asynchronous, and says so", creation{
		accepted: storage + "replicas: 1\nreplication: {synchronous: {number: 0}}",
		refused:  storage + "replicas: 1",
		saying:   []string{"spec.replication.synchronous.number must be below spec.replicas", "0 for a store of one member"},
	}),
	Entry("number is not negative", creation{
		accepted: storage + "replication: {synchronous: {number: 0}}",
		refused:  storage + "replication: {synchronous: {number: -1}}",
		saying:   []string{"spec.replication.synchronous.number", "should be greater than or equal to 0"},
	}),
	Entry("durability is Required or Preferred", creation{
		accepted: storage + "replication: {synchronous: {durability: Preferred}}",
		refused:  storage + "replication: {synchronous: {durability: BestEffort}}",
		saying:   []string{"spec.replication.synchronous.durability", `supported values: "Required", "Preferred"`},
	}),
	Entry("there is at least one member", creation{
		accepted: storage + "replicas: 1\nreplication: {synchronous: {number: 0}}",
		refused:  storage + "replicas: 0\nreplication: {synchronous: {number: 0}}",
		saying:   []string{"spec.replicas", "should be greater than or equal to 1"},
	}),
	Entry("there are at most nine members", creation{
		accepted: storage + "replicas: 9\nreplication: {synchronous: {number: 8}}",
		refused:  storage + "replicas: 10",
		saying:   []string{"spec.replicas", "should be less than or equal to 9"},
	}),
	Entry("storage is asked for", creation{
		accepted: storage,
		refused:  "replicas: 3",
		saying:   []string{"spec.storage", "Required value"},
	}),
	Entry("storage has a size", creation{
		accepted: storage,
		refused:  "storage: {storageClassName: fast}",
		saying:   []string{"spec.storage.size", "Required value"},
	}),
	Entry("storage holds at least the preallocated log", creation{
		accepted: "storage: {size: 256Mi}",
		refused:  "storage: {size: 255Mi}",
		saying:   []string{"spec.storage.size must be at least 256Mi"},
	}),
	Entry("storage retention is Retain or Delete", creation{
		accepted: "storage: {size: 1Gi, retentionPolicy: {whenDeleted: Delete, whenScaled: Delete}}",
		refused:  "storage: {size: 1Gi, retentionPolicy: {whenDeleted: Recycle}}",
		saying:   []string{"spec.storage.retentionPolicy.whenDeleted", `supported values: "Retain", "Delete"`},
	}),
	Entry("and for members that are scaled away", creation{
		accepted: "storage: {size: 1Gi, retentionPolicy: {whenScaled: Delete}}",
		refused:  "storage: {size: 1Gi, retentionPolicy: {whenScaled: Archive}}",
		saying:   []string{"spec.storage.retentionPolicy.whenScaled", `supported values: "Retain", "Delete"`},
	}),
	Entry("an image is pulled as Kubernetes knows it", creation{
		accepted: storage + "imagePullPolicy: Never",
		refused:  storage + "imagePullPolicy: Sometimes",
		saying:   []string{"spec.imagePullPolicy", `supported values: "Always", "IfNotPresent", "Never"`},
	}),
	Entry("an image is named or left out", creation{
		accepted: storage + "image: example/node:v1",
		refused:  storage + `image: ""`,
		saying:   []string{"spec.image", "should be at least 1 chars long"},
	}),
	Entry("writes wait at all", creation{
		accepted: storage + "replication: {writeTimeoutSeconds: 1}",
		refused:  storage + "replication: {writeTimeoutSeconds: 0}",
		saying:   []string{"spec.replication.writeTimeoutSeconds", "should be greater than or equal to 1"},
	}),
	Entry("writes wait for a bounded time", creation{
		accepted: storage + "replication: {writeTimeoutSeconds: 300}",
		refused:  storage + "replication: {writeTimeoutSeconds: 301}",
		saying:   []string{"spec.replication.writeTimeoutSeconds", "should be less than or equal to 300"},
	}),
	Entry("a lease is not shorter than its renewals allow", creation{
		accepted: storage + "failover: {leaseDurationSeconds: 3}",
		refused:  storage + "failover: {leaseDurationSeconds: 2}",
		saying:   []string{"spec.failover.leaseDurationSeconds", "should be greater than or equal to 3"},
	}),
	Entry("a lease is not longer than a minute", creation{
		accepted: storage + "failover: {leaseDurationSeconds: 60}",
		refused:  storage + "failover: {leaseDurationSeconds: 61}",
		saying:   []string{"spec.failover.leaseDurationSeconds", "should be less than or equal to 60"},
	}),
	Entry("a zone is preferred once", creation{
		accepted: storage + "failover: {preferredZones: [a, b]}",
		refused:  storage + "failover: {preferredZones: [a, b, a]}",
		saying:   []string{"spec.failover.preferredZones names a zone twice"},
	}),
	Entry("leadership returns to somewhere", creation{
		accepted: storage + "failover: {preferredZones: [a], returnToPreferredZone: true}",
		refused:  storage + "failover: {returnToPreferredZone: true}",
		saying:   []string{"spec.failover.returnToPreferredZone needs spec.failover.preferredZones: there is nowhere to return to"},
	}),
	Entry("failover is Automatic or Manual", creation{
		accepted: storage + "failover: {mode: Manual}",
		refused:  storage + "failover: {mode: manual}",
		saying:   []string{"spec.failover.mode", `supported values: "Automatic", "Manual"`},
	}),
	Entry("bounded loss names its bound", creation{
		accepted: storage + "replication: {synchronous: {number: 0}}\nfailover: {dataLoss: Bounded, maxLostWrites: 100}",
		refused:  storage + "replication: {synchronous: {number: 0}}\nfailover: {dataLoss: Bounded}",
		saying:   []string{"spec.failover.maxLostWrites must be set exactly when spec.failover.dataLoss is Bounded"},
	}),
	Entry("a bound belongs to bounded loss", creation{
		accepted: storage + "failover: {dataLoss: Allow}",
		refused:  storage + "failover: {dataLoss: Allow, maxLostWrites: 100}",
		saying:   []string{"spec.failover.maxLostWrites must be set exactly when spec.failover.dataLoss is Bounded"},
	}),
	Entry("a bound of no writes is called Forbid", creation{
		accepted: storage + "replication: {synchronous: {number: 0}}\nfailover: {dataLoss: Bounded, maxLostWrites: 1}",
		refused:  storage + "replication: {synchronous: {number: 0}}\nfailover: {dataLoss: Bounded, maxLostWrites: 0}",
		saying:   []string{"spec.failover.maxLostWrites", "should be greater than or equal to 1"},
	}),
	Entry("bounded loss is for asynchronous acknowledgement", creation{
		accepted: storage + "replication: {synchronous: {durability: Preferred}}\nfailover: {dataLoss: Bounded, maxLostWrites: 9}",
		refused:  storage + "replication: {synchronous: {durability: Required}}\nfailover: {dataLoss: Bounded, maxLostWrites: 9}",
		saying:   []string{"spec.failover.dataLoss Bounded is for stores that acknowledge writes asynchronously"},
	}),
	Entry("consistency is one of four levels", creation{
		accepted: storage + "reads: {consistency: LeaderWindow}",
		refused:  storage + "reads: {consistency: Strong}",
		saying:   []string{"spec.reads.consistency", `supported values: "Eventual", "Session", "LeaderWindow", "Linearizable"`},
	}),
	Entry("members need CPU and memory only", creation{
		accepted: storage + "resources: {limits: {memory: 1Gi}}",
		refused:  storage + "resources: {claims: [{name: gpu}]}",
		saying:   []string{"spec.resources.claims is not supported"},
	}),
	Entry("a value has a sane bound", creation{
		accepted: storage + "node: {maxValueSize: 64Mi}",
		refused:  storage + "node: {maxValueSize: 65Mi}",
		saying:   []string{"spec.node.maxValueSize must be between 1Ki and 64Mi"},
	}),
	Entry("a bound on values leaves room for values", creation{
		accepted: storage + "node: {maxValueSize: 1Ki}",
		refused:  storage + "node: {maxValueSize: 1000}",
		saying:   []string{"spec.node.maxValueSize must be between 1Ki and 64Mi"},
	}),
	Entry("caches have a floor", creation{
		accepted: storage + "node: {memory: 32Mi}",
		refused:  storage + "node: {memory: 31Mi}",
		saying:   []string{"spec.node.memory must be at least 32Mi"},
	}),
	Entry("caches leave room in the container", creation{
		accepted: storage + "resources: {limits: {memory: 1Gi}}\nnode: {memory: 1023Mi}",
		refused:  storage + "resources: {limits: {memory: 1Gi}}\nnode: {memory: 1Gi}",
		saying:   []string{"spec.node.memory must be below spec.resources.limits.memory"},
	}),
	Entry("a container has room for a node", creation{
		accepted: storage + "resources: {limits: {memory: 256Mi}}",
		refused:  storage + "resources: {limits: {memory: 255Mi, cpu: 1}}",
		saying:   []string{"spec.resources.limits.memory must be at least 256Mi"},
	}),
	Entry("a container may use the CPU that it asks for", creation{
		accepted: storage + "resources: {requests: {cpu: 1000m}, limits: {cpu: 1}}",
		refused:  storage + "resources: {requests: {cpu: 1001m}, limits: {cpu: 1}}",
		saying:   []string{"spec.resources.requests.cpu must be at most spec.resources.limits.cpu"},
	}),
	Entry("and the memory", creation{
		accepted: storage + "resources: {requests: {memory: 1Gi}, limits: {memory: 1024Mi, cpu: 1}}",
		refused:  storage + "resources: {requests: {memory: 2Gi}, limits: {memory: 1Gi}}",
		saying:   []string{"spec.resources.requests.memory must be at most spec.resources.limits.memory"},
	}),
	Entry("and the node's own disk", creation{
		accepted: storage + "resources: {requests: {cpu: 2, ephemeral-storage: 1Gi}, limits: {ephemeral-storage: 1Gi}}",
		refused:  storage + "resources: {requests: {ephemeral-storage: 1Gi}, limits: {ephemeral-storage: 1G}}",
		saying:   []string{"spec.resources.requests.ephemeral-storage must be at most spec.resources.limits.ephemeral-storage"},
	}),
	Entry("kept log leaves room for the data", creation{
		accepted: storage + "node: {logRetention: 512Mi}",
		refused:  storage + "node: {logRetention: 513Mi}",
		saying:   []string{"spec.node.logRetention must be at most half of spec.storage.size"},
	}),
	Entry("kept log has a floor", creation{
		accepted: storage + "node: {logRetention: 1Mi}",
		refused:  storage + "node: {logRetention: 1Ki}",
		saying:   []string{"spec.node.logRetention must be at least 1Mi"},
	}),
	Entry("a seed gets somewhere", creation{
		accepted: storage + "node: {seedRate: 1Mi}",
		refused:  storage + "node: {seedRate: 1000}",
		saying:   []string{"spec.node.seedRate must be between 1Mi and 1Ti, in bytes per second"},
	}),
	Entry("there is room for a client", creation{
		accepted: storage + "node: {maxClients: 1}",
		refused:  storage + "node: {maxClients: 0}",
		saying:   []string{"spec.node.maxClients", "should be greater than or equal to 1"},
	}),
	Entry("labels of the operator are its own", creation{
		accepted: storage + "podMetadata: {labels: {team: payments}}",
		refused:  storage + "podMetadata: {labels: {replicatedstore.io/role: leader}}",
		saying:   []string{"labels below replicatedstore.io/ and app.kubernetes.io/ are the operator's own"},
	}),
	Entry("annotations of the operator are its own", creation{
		accepted: storage + "podMetadata: {annotations: {example.org/a: b}}",
		refused:  storage + "podMetadata: {annotations: {replicatedstore.io/spec-hash: x}}",
		saying:   []string{"annotations below replicatedstore.io/ are the operator's own"},
	}),
	Entry("annotations of Services are checked too", creation{
		accepted: storage + "services: {annotations: {example.org/a: b}}",
		refused:  storage + "services: {annotations: {replicatedstore.io/store: x}}",
		saying:   []string{"annotations below replicatedstore.io/ are the operator's own"},
	}),
	Entry("a label has a value that a pod can have", creation{
		accepted: storage + "podMetadata: {labels: {team: data-platform_1.0, empty: \"\", long: " + strings.Repeat("v", 63) + "}}",
		refused:  storage + "podMetadata: {labels: {team: data platform}}",
		saying:   []string{"spec.podMetadata.labels[team]", "the value of a label must be empty, or at most 63 letters, digits, '-', '_' and '.'"},
	}),
	Entry("of at most 63 characters", creation{
		accepted: storage + "podMetadata: {labels: {team: a}}",
		refused:  storage + "podMetadata: {labels: {team: " + strings.Repeat("v", 64) + "}}",
		saying:   []string{"spec.podMetadata.labels.team", "may not be more than 63"},
	}),
	Entry("a label has a key that a pod can have", creation{
		accepted: storage + "podMetadata: {labels: {a: b, Example_1.x: b, " + strings.Repeat("k", 63) + ": b, " + longDomain + "/a: b}}",
		refused:  storage + "podMetadata: {labels: {a b: c}}",
		saying:   []string{"spec.podMetadata.labels: the key of a label must be a name of at most 63 letters, digits, '-', '_' and '.'"},
	}),
	Entry("with a domain before it", creation{
		accepted: storage + "podMetadata: {labels: {example.org/a: b}}",
		refused:  storage + "podMetadata: {labels: {Example.org/a: b}}",
		saying:   []string{"spec.podMetadata.labels: the key of a label", "a DNS domain of at most 253 characters and a slash before it"},
	}),
	Entry("of at most 253 characters", creation{
		accepted: storage + "podMetadata: {labels: {" + longDomain + "/a: b}}",
		refused:  storage + "podMetadata: {labels: {" + longDomain + "d/a: b}}",
		saying:   []string{"spec.podMetadata.labels: the key of a label must be a name"},
	}),
	Entry("an annotation has a key that a pod can have", creation{
		accepted: storage + "podMetadata: {annotations: {Example.org/a: b c}}",
		refused:  storage + "podMetadata: {annotations: {/a: b}}",
		saying:   []string{"spec.podMetadata.annotations: the key of an annotation must be a name of at most 63 letters, digits, '-', '_' and '.'"},
	}),
	Entry("and one that a Service can have", creation{
		accepted: storage + "services: {annotations: {Example.org/a: b c}}",
		refused:  storage + "services: {annotations: {a/b/c: d}}",
		saying:   []string{"spec.services.annotations: the key of an annotation must be a name of at most 63 letters, digits, '-', '_' and '.'"},
	}),
	Entry("a password is in a Secret that has a name", creation{
		accepted: storage + "auth: {passwordSecret: {name: orders-auth, key: clients.txt}}",
		refused:  storage + "auth: {passwordSecret: {key: clients.txt}}",
		saying:   []string{"spec.auth.passwordSecret.name", "Required value"},
	}),
	Entry("a Secret's name is one", creation{
		accepted: storage + "auth: {passwordSecret: {name: orders.auth}}",
		refused:  storage + "auth: {passwordSecret: {name: Orders/auth}}",
		saying:   []string{"spec.auth.passwordSecret.name", "should match"},
	}),
	Entry("a Secret's key is one", creation{
		accepted: storage + "auth: {passwordSecret: {name: a, key: a_B.c-1}}",
		refused:  storage + "auth: {passwordSecret: {name: a, key: ../password}}",
		saying:   []string{"spec.auth.passwordSecret.key", "should match"},
	}),
	Entry("members get a while to close their files", creation{
		accepted: storage + "scheduling: {terminationGracePeriodSeconds: 5}",
		refused:  storage + "scheduling: {terminationGracePeriodSeconds: 0}",
		saying:   []string{"spec.scheduling.terminationGracePeriodSeconds", "should be greater than or equal to 5"},
	}),
)

type change struct {
	from, accepted, refused string
	saying                  string
}

var _ = DescribeTable("a rule about changes", func(ctx SpecContext, c change) {
	created(ctx, "orders", c.from)
	Expect(update(ctx, "orders", c.refused)).To(refusal(c.saying))
	Expect(update(ctx, "orders", c.accepted)).To(Succeed())
},
	Entry("a volume grows and never shrinks", change{
		from:     "storage: {size: 10Gi}",
		accepted: "storage: {size: 11Gi}",
		refused:  "storage: {size: 9Gi}",
		saying:   "spec.storage.size must not shrink",
	}),
	Entry("sizes are compared as quantities, not as text", change{
		from:     "storage: {size: 1024Mi}",
		accepted: "storage: {size: 1Gi}",
		refused:  "storage: {size: 1G}",
		saying:   "spec.storage.size must not shrink",
	}),
	Entry("the storage class stays", change{
		from:     "storage: {size: 1Gi, storageClassName: fast}",
		accepted: "storage: {size: 2Gi, storageClassName: fast}",
		refused:  "storage: {size: 1Gi, storageClassName: slow}",
		saying:   "spec.storage.storageClassName is immutable",
	}),
	Entry("the storage class cannot be given later", change{
		from:     "storage: {size: 1Gi}",
		accepted: "storage: {size: 2Gi}",
		refused:  "storage: {size: 1Gi, storageClassName: slow}",
		saying:   "spec.storage.storageClassName is immutable",
	}),
	Entry("the storage class cannot be taken away", change{
		from:     "storage: {size: 1Gi, storageClassName: fast}",
		accepted: "storage: {size: 2Gi, storageClassName: fast}",
		refused:  "storage: {size: 1Gi}",
		saying:   "spec.storage.storageClassName is immutable",
	}),
)

var _ = DescribeTable("a rule about names", func(ctx SpecContext, accepted, refused, saying string) {
	Expect(k8s.Create(ctx, manifest(accepted, storage))).To(Succeed())
	Expect(k8s.Create(ctx, manifest(refused, storage))).To(refusal(saying))
},
	Entry("children's names fit", strings.Repeat("a", 50), strings.Repeat("a", 51), "metadata.name must be at most 50 characters"),
	Entry("a Service name starts with a letter", "a-1", "1-a", "metadata.name must be a DNS-1035 label"),
	Entry("a Service name has no dots", "a-b", "a.b", "metadata.name must be a DNS-1035 label"),
)
